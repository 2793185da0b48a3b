// Frames to the network's size, with the same pixels as Python: hidden_two_stream.video.array_resize.

const LARGEST_WEIGHT = 1 << 15;
const MOST_BITS = 22;
const weightsOf = new Map();

/** Return [height, width] whose shorter side is `short`, rounded as in Python. */
export function shortSideSize(height, width, short) {
  const least = Math.min(height, width);
  const scaled = (side) => Math.floor((2 * side * short + least) / (2 * least));
  return [scaled(height), scaled(width)];
}

/**
 * Return the center of a resized image.
 *
 * @param {{data: Uint8ClampedArray|Uint8Array, width: number, height: number}} image - RGBA.
 * @param {number|[number, number]} resize - the shorter side, or height and width, px.
 * @param {number} size - side of the square to cut out, px.
 * @returns {Uint8Array} (size, size, 3) RGB.
 */
export function preparedFrame(image, resize, size) {
  const { data, width, height } = image;
  const [rows, columns] = Array.isArray(resize) ? resize : shortSideSize(height, width, resize);
  const narrow = alongRows(data, height, width, columns);
  return centerOf(alongColumns(narrow, height, columns, rows), rows, columns, size);
}

/** Return frames (size, size, 3) mirrored left to right. */
export function mirrored(frame, size) {
  const found = new Uint8Array(frame.length);
  for (let row = 0; row < size; row++) {
    for (let column = 0; column < size; column++) {
      const from = 3 * (row * size + column);
      const to = 3 * (row * size + size - 1 - column);
      for (let color = 0; color < 3; color++) found[to + color] = frame[from + color];
    }
  }
  return found;
}

function alongRows(data, height, before, after) {
  const found = new Uint8Array(3 * height * after);
  const { first, taps, weights, bits } = resizeWeights(before, after);
  const half = bits ? 1 << (bits - 1) : 0;
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < after; column++) {
      let red = half, green = half, blue = half;
      for (let tap = 0; tap < taps; tap++) {
        const weight = weights[column * taps + tap];
        if (weight === 0) continue;
        const at = 4 * (row * before + first[column] + tap);
        red += data[at] * weight;
        green += data[at + 1] * weight;
        blue += data[at + 2] * weight;
      }
      const to = 3 * (row * after + column);
      found[to] = clipped(red >> bits);
      found[to + 1] = clipped(green >> bits);
      found[to + 2] = clipped(blue >> bits);
    }
  }
  return found;
}

function alongColumns(data, before, width, after) {
  if (before === after) return data;
  const found = new Uint8Array(3 * after * width);
  const { first, taps, weights, bits } = resizeWeights(before, after);
  const half = 1 << (bits - 1);
  const sums = new Int32Array(3 * width);
  for (let row = 0; row < after; row++) {
    sums.fill(half);
    for (let tap = 0; tap < taps; tap++) {
      const weight = weights[row * taps + tap];
      if (weight === 0) continue;
      const from = 3 * width * (first[row] + tap);
      for (let at = 0; at < sums.length; at++) sums[at] += data[from + at] * weight;
    }
    for (let at = 0; at < sums.length; at++) found[3 * width * row + at] = clipped(sums[at] >> bits);
  }
  return found;
}

function clipped(value) {
  return value < 0 ? 0 : value > 255 ? 255 : value;
}

/** Return whole-number weights of a triangle, widened where the image shrinks; see the Python module. */
function resizeWeights(before, after) {
  const key = `${before}>${after}`;
  if (!weightsOf.has(key)) weightsOf.set(key, newWeights(before, after));
  return weightsOf.get(key);
}

function newWeights(before, after) {
  if (before === after) {
    return { first: Int32Array.from({ length: after }, (_, at) => at), taps: 1, weights: new Int32Array(after).fill(1), bits: 0 };
  }
  const scale = before / after;
  const reach = Math.max(scale, 1);
  const taps = 2 * Math.ceil(reach) + 1;
  const first = new Int32Array(after);
  const shares = new Float64Array(after * taps);
  let largest = 0;
  for (let at = 0; at < after; at++) {
    const center = scale * (at + 0.5);
    first[at] = Math.max(Math.trunc(center - reach + 0.5), 0);
    const stop = Math.min(Math.trunc(center + reach + 0.5), before);
    let total = 0;
    for (let tap = 0; tap < taps; tap++) {
      const place = first[at] + tap;
      const share = place < stop ? Math.max(0, 1 - Math.abs(place - center + 0.5) / reach) : 0;
      shares[at * taps + tap] = share;
      total += share;
    }
    for (let tap = 0; tap < taps; tap++) {
      shares[at * taps + tap] /= total;
      largest = Math.max(largest, shares[at * taps + tap]);
    }
  }
  let bits = 0;
  while (bits < MOST_BITS && Math.trunc(0.5 + largest * 2 ** (bits + 1)) < LARGEST_WEIGHT) bits++;
  const weights = Int32Array.from(shares, (share) => Math.floor(share * 2 ** bits + 0.5));
  return { first, taps, weights, bits };
}

function centerOf(data, rows, columns, size) {
  const top = Math.floor((rows - size) / 2);
  const left = Math.floor((columns - size) / 2);
  const found = new Uint8Array(3 * size * size);
  for (let row = 0; row < size; row++) {
    const from = 3 * ((top + row) * columns + left);
    found.set(data.subarray(from, from + 3 * size), 3 * size * row);
  }
  return found;
}
