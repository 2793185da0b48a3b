// Flow as color, as hidden_two_stream.motion.color draws it: the hue is the direction, the saturation the speed.
// Reference: Baker et al., A Database and Evaluation Methodology for Optical Flow, IJCV 2011.

const SEGMENTS = [15, 6, 4, 11, 13, 6];
const CORNERS = [[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1], [1, 0, 1], [1, 0, 0]];
const BEYOND = 0.75;
const WHEEL = SEGMENTS.flatMap((steps, segment) =>
  Array.from({ length: steps }, (_, step) => {
    const ramp = Math.floor((255 * step) / steps);
    return CORNERS[segment].map((start, color) => 255 * start + ramp * (CORNERS[segment + 1][color] - start));
  }),
);

/**
 * Draw a flow into RGBA pixels.
 *
 * @param {ArrayLike<number>} flow - (2, h, w): u right, v down, px.
 * @param {Uint8ClampedArray} pixels - (h, w, 4), changed in place.
 * @param {number} maxPx - speed with the full hue, px.
 */
export function drawFlow(flow, pixels, maxPx) {
  const count = pixels.length / 4;
  for (let at = 0; at < count; at++) {
    const u = flow[at], v = flow[count + at];
    const level = Math.hypot(u, v) / maxPx;
    const turns = Math.atan2(v, u) / (2 * Math.PI);
    const position = (turns < 0 ? turns + 1 : turns) * (WHEEL.length - 1);
    const below = Math.floor(position);
    const part = position - below;
    const next = WHEEL[(below + 1) % WHEEL.length];
    for (let color = 0; color < 3; color++) {
      const hue = (1 - part) * WHEEL[below][color] + part * next[color];
      pixels[4 * at + color] = Math.floor(level <= 1 ? 255 - level * (255 - hue) : BEYOND * hue);
    }
    pixels[4 * at + 3] = 255;
  }
}

/** Return a speed that few pixels exceed: what `drawFlow` shows as full color. At least `least` px. */
export function flowScale(flow, least = 1) {
  const count = flow.length / 2;
  let most = 0;
  for (let at = 0; at < count; at++) most = Math.max(most, Math.hypot(flow[at], flow[count + at]));
  return Math.max(most, least);
}
