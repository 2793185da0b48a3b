// safetensors files: a JSON header with its length in front, then the tensors.

const TYPES = { F64: Float64Array, F32: Float32Array, I64: BigInt64Array, I32: Int32Array, U8: Uint8Array };
const MOST_HEADER = 100e6;

/**
 * Return the bytes of a file.
 *
 * @param {Record<string, {shape: number[], data: ArrayBufferView}>} tensors - their types follow the arrays'.
 * @param {Record<string, string>} metadata - texts for the header.
 */
export function writeSafetensors(tensors, metadata) {
  const header = { __metadata__: metadata };
  let length = 0;
  for (const [name, { shape, data }] of Object.entries(tensors)) {
    const dtype = Object.keys(TYPES).find((type) => data instanceof TYPES[type]);
    header[name] = { dtype, shape, data_offsets: [length, length + data.byteLength] };
    length += data.byteLength;
  }
  const text = new TextEncoder().encode(JSON.stringify(header));
  const padded = 8 * Math.ceil(text.length / 8);
  const file = new Uint8Array(8 + padded + length).fill(32, 8, 8 + padded);
  new DataView(file.buffer).setBigUint64(0, BigInt(padded), true);
  file.set(text, 8);
  for (const [name, { data }] of Object.entries(tensors)) {
    file.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), 8 + padded + header[name].data_offsets[0]);
  }
  return file;
}

/**
 * Return the tensors and the metadata of a file.
 *
 * @param {Uint8Array} file
 * @throws {Error} it is damaged, or another kind of file.
 */
export function readSafetensors(file) {
  const wrong = new Error("this is no project file, or it is damaged");
  if (file.length < 8) throw wrong;
  const length = Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true));
  if (length > Math.min(MOST_HEADER, file.length - 8)) throw wrong;
  let header;
  try {
    header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(file.subarray(8, 8 + length)));
  } catch {
    throw wrong;
  }
  const tensors = {};
  const body = file.slice(8 + length);
  for (const [name, entry] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const kind = TYPES[entry?.dtype];
    const [start, stop] = entry?.data_offsets ?? [];
    const count = (entry?.shape ?? []).reduce((product, side) => product * side, 1);
    if (!kind || !(start >= 0 && stop <= body.length && stop - start === count * kind.BYTES_PER_ELEMENT)) throw wrong;
    tensors[name] = { shape: entry.shape, data: new kind(body.slice(start, stop).buffer) };
  }
  return { tensors, metadata: header.__metadata__ ?? {} };
}
