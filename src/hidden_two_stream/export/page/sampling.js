// Which frames make a clip: hidden_two_stream.video.sampling and .times, in JavaScript.

/** Return the number of frames from the first to the last frame of a clip. */
export function clipSpan(length, stride) {
  return (length - 1) * stride + 1;
}

/** Return the frame numbers of the clip that begins at `start`, clamped to the last frame. */
export function clipIndices(start, length, stride, numFrames) {
  return Array.from({ length }, (_, at) => Math.min(start + at * stride, numFrames - 1));
}

/** Return the first frames of `count` clips as the test protocol "10x1" chooses them, without repeats. */
export function uniformStarts(numFrames, length, stride, count) {
  const step = Math.floor(numStarts(numFrames, length, stride) / count);
  return [...new Set(Array.from({ length: count }, (_, at) => at * step))];
}

/** Return the first frames of `count` clips from the first to the last possible start, without repeats. */
export function spreadStarts(numFrames, length, stride, count) {
  const last = numStarts(numFrames, length, stride) - 1;
  if (count === 1) return [Math.floor(last / 2)];
  const place = (at) => Math.floor((2 * at * last + count - 1) / (2 * (count - 1)));
  return [...new Set(Array.from({ length: count }, (_, at) => place(at)))];
}

function numStarts(numFrames, length, stride) {
  return Math.max(1, numFrames - clipSpan(length, stride) + 1);
}

/**
 * Take `fps` frames per second: for each time first + i / fps, the frame nearest to it.
 *
 * @param {number} fps - frames per second; 0: all frames.
 * @returns {{push: (seconds: number, frame: any) => any[], end: () => any[]}} both return the frames that are
 *   due, in order; a frame repeats where the source has fewer.
 */
export function rateSampler(fps) {
  let wanted = 0, first = 0, before = null;
  const at = () => first + wanted / fps;
  return {
    push(seconds, frame) {
      if (!fps) return [frame];
      const due = [];
      if (before === null) first = seconds;
      else {
        const middle = (before.seconds + seconds) / 2 + 1e-9;
        for (; at() <= middle; wanted++) due.push(before.frame);
      }
      before = { seconds, frame };
      return due;
    },
    end() {
      const due = [];
      if (!fps || before === null) return due;
      for (; at() <= before.seconds + 0.25 / fps + 1e-9; wanted++) due.push(before.frame);
      return due;
    },
  };
}
