// The last layer that the page teaches: hidden_two_stream.training.logistic, and the calibration of its scores.

import { argmax, centeredLogits, meanOf, softmax } from "./scoring.js";

export const PENALTY = 0.003;
const MOST_ITERATIONS = 200;
const HISTORY = 10;
const SMALL_GRADIENT = 1e-7;
const LOWEST_TEMPERATURE = 0.05, HIGHEST_TEMPERATURE = 100;
const FEWEST_CLIPS = 5;
const MISSED_SHARE = 0.05;

/**
 * Fit a multinomial logistic regression: mean cross entropy + PENALTY/2 · |weight|² of standardized inputs.
 *
 * @param {ArrayLike<number>[]} inputs - embeddings, (N, D).
 * @param {number[]} labels - class numbers.
 * @param {number} classes - number of classes.
 * @param {Float64Array} [start] - parameters of an earlier fit to begin with.
 * @returns {{weight: Float64Array[], bias: Float64Array, start: Float64Array}} for the inputs as they are.
 */
export function fitHead(inputs, labels, classes, start) {
  const { mean, scale, rows } = standardized(inputs);
  const width = mean.length;
  const found = minimize((at, slope) => regressionLoss(rows, labels, classes, at, slope), start ?? new Float64Array(classes * (width + 1)));
  const weight = [], bias = new Float64Array(classes);
  for (let k = 0; k < classes; k++) {
    const row = Float64Array.from({ length: width }, (_, d) => found[k * (width + 1) + d] / scale[d]);
    weight.push(row);
    bias[k] = found[k * (width + 1) + width] - row.reduce((sum, value, d) => sum + value * mean[d], 0);
  }
  return { weight, bias, start: found };
}

/** Return the logits of an embedding. */
export function headLogits(head, embedding) {
  return Array.from(head.bias, (bias, k) => head.weight[k].reduce((sum, value, d) => sum + value * embedding[d], bias));
}

/**
 * Return the logits that each clip gets from a head that was fitted without it.
 *
 * @param {{label: number, windows: ArrayLike<number>[], training: ArrayLike<number>[]}[]} clips - embeddings of
 *   each clip's windows, and those to train on (mirror images, too).
 * @param {number} classes - number of classes.
 * @param {Float64Array} start - parameters of the fit to all clips.
 * @returns {number[][]} (clips, classes).
 */
export function leaveOneOut(clips, classes, start) {
  return clips.map((clip) => {
    const others = clips.filter((other) => other !== clip);
    const head = fitHead(...trainingWindows(others), classes, start);
    return meanOf(clip.windows.map((window) => headLogits(head, window)));
  });
}

/** Return the embeddings to train on and their labels. */
export function trainingWindows(clips) {
  return [clips.flatMap((clip) => clip.training), clips.flatMap((clip) => clip.training.map(() => clip.label))];
}

/**
 * Return what the logits of held-back clips say about the scores: temperature, threshold and prototypes.
 *
 * @param {number[][]} logits - (clips, classes).
 * @param {number[]} labels - class numbers.
 * @param {string} stream - name of the stream.
 */
export function fitCalibration(logits, labels, stream) {
  const temperature = fitTemperature(logits, labels);
  const cooled = logits.map((row) => row.map((value) => value / temperature));
  const scores = cooled.map(softmax);
  const right = scores.map((row, n) => argmax(row) === labels[n]);
  return {
    temperatures: { [stream]: temperature },
    fused_temperature: 1,
    threshold: conformalLimit(scores.filter((_, n) => right[n]).map((row) => Math.max(...row))),
    num_clips: logits.length,
    prototypes: fitPrototypes(cooled, labels, right, stream),
  };
}

/** Return the temperature with the smallest mean negative log likelihood; see the Python function. */
export function fitTemperature(logits, labels) {
  const count = labels.length, classes = logits[0].length;
  if (count < FEWEST_CLIPS || new Set(labels).size < 2) return 1;
  const values = logits.map((row) => row.map((value) => value - Math.max(...row)));
  const share = 1 / ((count + 1) * classes);
  const slope = (sharpness) => {
    let sum = 0;
    values.forEach((row, n) => {
      const scores = softmax(row.map((value) => sharpness * value));
      row.forEach((value, k) => (sum += (scores[k] - share - (k === labels[n] ? count / (count + 1) : 0)) * value));
    });
    return sum / count;
  };
  if (slope(1 / HIGHEST_TEMPERATURE) >= 0) return HIGHEST_TEMPERATURE;
  if (slope(1 / LOWEST_TEMPERATURE) <= 0) return LOWEST_TEMPERATURE;
  let low = Math.log(1 / HIGHEST_TEMPERATURE), high = Math.log(1 / LOWEST_TEMPERATURE);
  for (let halving = 0; halving < 60; halving++) {
    const middle = (low + high) / 2;
    if (slope(Math.exp(middle)) < 0) low = middle;
    else high = middle;
  }
  return Math.exp(-(low + high) / 2);
}

/** Return the classes' prototypes and the least cosine; null: too few clips. See the Python module. */
function fitPrototypes(logits, labels, right, stream) {
  const classes = logits[0].length;
  const vectors = logits.map((row) => centeredLogits([row]));
  const sums = Array.from({ length: classes }, () => new Array(classes).fill(0));
  vectors.forEach((vector, n) => vector.forEach((value, k) => (sums[labels[n]][k] += value)));
  const counts = sums.map((_, k) => labels.filter((label) => label === k).length);
  if (counts.some((count) => count < 2) || sums.some((sum) => Math.hypot(...sum) === 0)) return null;
  const similar = vectors.map((vector, n) => cosine(vector, sums[labels[n]].map((value, k) => value - vector[k])));
  const least = conformalLimit(similar.filter((_, n) => right[n]));
  if (least === null) return null;
  const rounded = sums.map((sum) => unit(sum).map((value) => Math.round(value * 1e4) / 1e4));
  return { streams: [stream], vectors: rounded, least: Math.max(-1, least) };
}

/** Return the value that at most 5% of new values will fall below; null with fewer than 19. */
function conformalLimit(values) {
  const rank = Math.floor(MISSED_SHARE * (values.length + 1) + 1e-9);
  return rank >= 1 ? [...values].sort((a, b) => a - b)[rank - 1] : null;
}

function unit(vector) {
  const length = Math.max(Math.hypot(...vector), 1e-12);
  return vector.map((value) => value / length);
}

function cosine(first, second) {
  const [a, b] = [unit(first), unit(second)];
  return a.reduce((sum, value, k) => sum + value * b[k], 0);
}

function standardized(inputs) {
  const width = inputs[0].length, count = inputs.length;
  const mean = new Float64Array(width), scale = new Float64Array(width);
  for (const row of inputs) for (let d = 0; d < width; d++) mean[d] += row[d] / count;
  for (const row of inputs) for (let d = 0; d < width; d++) scale[d] += (row[d] - mean[d]) ** 2 / count;
  for (let d = 0; d < width; d++) scale[d] = Math.max(Math.sqrt(scale[d]), 1e-6);
  return { mean, scale, rows: inputs.map((row) => Float64Array.from(row, (value, d) => (value - mean[d]) / scale[d])) };
}

/** Return the loss at parameters (classes, D + 1), the bias last, and write its gradient into `slope`. */
function regressionLoss(rows, labels, classes, at, slope) {
  const width = rows[0].length, step = width + 1, count = rows.length;
  slope.fill(0);
  let loss = 0;
  const logits = new Float64Array(classes);
  for (let n = 0; n < count; n++) {
    const row = rows[n];
    for (let k = 0; k < classes; k++) {
      let sum = at[k * step + width];
      for (let d = 0; d < width; d++) sum += at[k * step + d] * row[d];
      logits[k] = sum;
    }
    const most = Math.max(...logits);
    let total = 0;
    for (let k = 0; k < classes; k++) total += Math.exp(logits[k] - most);
    loss += (Math.log(total) + most - logits[labels[n]]) / count;
    for (let k = 0; k < classes; k++) {
      const error = (Math.exp(logits[k] - most) / total - (k === labels[n] ? 1 : 0)) / count;
      for (let d = 0; d < width; d++) slope[k * step + d] += error * row[d];
      slope[k * step + width] += error;
    }
  }
  for (let k = 0; k < classes; k++) {
    for (let d = 0; d < width; d++) {
      const value = at[k * step + d];
      loss += (PENALTY / 2) * value * value;
      slope[k * step + d] += PENALTY * value;
    }
  }
  return loss;
}

/** Return the minimum of a convex function by L-BFGS with backtracking (Nocedal and Wright, chapter 7). */
function minimize(lossAndSlope, start) {
  let at = Float64Array.from(start);
  let slope = new Float64Array(at.length);
  let loss = lossAndSlope(at, slope);
  const pairs = [];
  for (let round = 0; round < MOST_ITERATIONS && largest(slope) > SMALL_GRADIENT; round++) {
    const direction = lbfgsDirection(slope, pairs);
    const descent = dot(direction, slope);
    let length = pairs.length ? 1 : Math.min(1, 1 / Math.max(largest(slope), 1e-12));
    let next, nextSlope, nextLoss;
    for (;;) {
      next = at.map((value, n) => value + length * direction[n]);
      nextSlope = new Float64Array(at.length);
      nextLoss = lossAndSlope(next, nextSlope);
      if (nextLoss <= loss + 1e-4 * length * descent || length < 1e-10) break;
      length /= 2;
    }
    if (length < 1e-10) break;
    const moved = next.map((value, n) => value - at[n]);
    const bent = nextSlope.map((value, n) => value - slope[n]);
    const curvature = dot(moved, bent);
    if (curvature > 1e-14) pairs.push({ moved, bent, curvature });
    if (pairs.length > HISTORY) pairs.shift();
    [at, slope, loss] = [next, nextSlope, nextLoss];
  }
  return at;
}

function lbfgsDirection(slope, pairs) {
  const found = slope.map((value) => -value);
  const shares = [];
  for (let n = pairs.length - 1; n >= 0; n--) {
    const { moved, bent, curvature } = pairs[n];
    shares[n] = dot(moved, found) / curvature;
    for (let d = 0; d < found.length; d++) found[d] -= shares[n] * bent[d];
  }
  if (pairs.length) {
    const { bent, curvature } = pairs[pairs.length - 1];
    const factor = curvature / dot(bent, bent);
    for (let d = 0; d < found.length; d++) found[d] *= factor;
  }
  for (let n = 0; n < pairs.length; n++) {
    const { moved, bent, curvature } = pairs[n];
    const share = shares[n] - dot(bent, found) / curvature;
    for (let d = 0; d < found.length; d++) found[d] += share * moved[d];
  }
  return found;
}

function dot(first, second) {
  let sum = 0;
  for (let n = 0; n < first.length; n++) sum += first[n] * second[n];
  return sum;
}

function largest(values) {
  let most = 0;
  for (const value of values) most = Math.max(most, Math.abs(value));
  return most;
}
