// From logits to scores and labels, as hidden_two_stream.inference.scoring does in Python.

const LOWEST_LOG = Math.log(1e-38);

/** Return the softmax of logits. */
export function softmax(logits) {
  const most = Math.max(...logits);
  const raised = Array.from(logits, (value) => Math.exp(value - most));
  const total = raised.reduce((sum, value) => sum + value, 0);
  return raised.map((value) => value / total);
}

/** Return the mean of equally long vectors. */
export function meanOf(vectors) {
  return Array.from(vectors[0], (_, at) => vectors.reduce((sum, vector) => sum + vector[at], 0) / vectors.length);
}

/** Return the place of the greatest value. */
export function argmax(values) {
  let best = 0;
  for (let at = 1; at < values.length; at++) if (values[at] > values[best]) best = at;
  return best;
}

/**
 * Return the fused scores of the streams' logits, which are divided by their temperatures already.
 *
 * @param {Record<string, ArrayLike<number>>} logits - of each stream.
 * @param {{method: string, spatial_weight: number, temporal_weight: number}} fusion - from the recipe.
 * @param {{fused_temperature: number}|null} calibration - of the run.
 */
export function fusedScores(logits, fusion, calibration) {
  const names = Object.keys(logits);
  const weights = names.map((name) => fusion[`${name}_weight`]);
  const whole = weights.reduce((sum, weight) => sum + weight, 0);
  const terms = names.map((name) => streamTerm(logits[name], fusion.method));
  const mixed = terms[0].map((_, at) => terms.reduce((sum, term, n) => sum + (weights[n] / whole) * term[at], 0));
  const fused = fusion.method === "product" ? softmax(mixed) : mixed;
  if (!calibration) return fused;
  const logs = fused.map((score) => Math.max(Math.log(score), LOWEST_LOG));
  return softmax(logs.map((value) => value / calibration.fused_temperature));
}

/** Return the scores of one stream alone. */
export function streamScores(logits, method) {
  return method === "l1" ? l1Normalized(logits) : softmax(logits);
}

function streamTerm(logits, method) {
  if (method !== "product") return streamScores(logits, method);
  const most = Math.max(...logits);
  const total = Math.log(Array.from(logits).reduce((sum, value) => sum + Math.exp(value - most), 0)) + most;
  return Array.from(logits, (value) => value - total);
}

function l1Normalized(logits) {
  const positive = Array.from(logits, (value) => Math.max(value, 0));
  const total = positive.reduce((sum, value) => sum + value, 0);
  return positive.map((value) => (total > 0 ? value / total : 1 / positive.length));
}

/**
 * Return the class that fits best, or none.
 *
 * @param {Record<string, ArrayLike<number>>} logits - of each stream.
 * @param {ArrayLike<number>} scores - fused.
 * @param {object|null} calibration - of the run: its prototypes, else its threshold, tell what is of no class.
 * @returns {{best: number, isKnown: boolean}}
 */
export function decision(logits, scores, calibration) {
  const best = argmax(scores);
  if (calibration?.prototypes) {
    return { best, isKnown: similarity(logits, best, calibration.prototypes) >= calibration.prototypes.least };
  }
  const threshold = calibration?.threshold ?? null;
  return { best, isKnown: threshold === null || scores[best] >= threshold };
}

/** Return the cosine between logits and the prototype of a class. */
export function similarity(logits, best, prototypes) {
  const vector = centeredLogits(prototypes.streams.map((name) => logits[name]));
  const length = Math.max(Math.hypot(...vector), 1e-12);
  return vector.reduce((sum, value, at) => sum + (value / length) * prototypes.vectors[best][at], 0);
}

/** Return the streams' logits in one vector, each stream's less their mean. */
export function centeredLogits(streams) {
  return streams.flatMap((values) => {
    const mean = Array.from(values).reduce((sum, value) => sum + value, 0) / values.length;
    return Array.from(values, (value) => value - mean);
  });
}
