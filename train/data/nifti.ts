/** NIfTI-1 and NIfTI-2 volumes: reading with the header kept, and writing of label volumes. */
import { isNIFTI, NIFTI1, NIFTI2, readHeader } from "nifti-reader-js";
import { writeFileAtomically } from "../../engine/atomic_file.ts";
import type { Spacing, Volume, VolumeShape } from "./dataset.ts";
import { DataError } from "./errors.ts";
import { readBytes } from "./files.ts";
import { gunzip, gzip, isGzip } from "./gzip.ts";

/** What of a NIfTI header says where voxels lie; kept when labels are written for an image. */
export interface NiftiHeader {
  /** Numbers of voxels along i, j, k: columns, rows, slices. */
  readonly dims: readonly [number, number, number];
  /** As stored: qfac, then the voxel's size along i, j, k. */
  readonly pixDims: readonly [number, number, number, number];
  /** The field xyzt_units. */
  readonly units: number;
  /** What the qform leads to; 0 for nothing. */
  readonly qformCode: number;
  /** What the sform leads to; 0 for nothing. */
  readonly sformCode: number;
  /** quatern_b, quatern_c, quatern_d. */
  readonly quaternion: readonly [number, number, number];
  /** Offset of the qform. */
  readonly qoffset: readonly [number, number, number];
  /** srow_x, srow_y, srow_z. */
  readonly srow: readonly number[];
  /** Voxel indices (i, j, k, 1) to world coordinates, 4 x 4, from the sform or the qform. */
  readonly affine: readonly (readonly number[])[];
  /** Directions of i, j, k: three of the letters L R, P A, I S, as in "LPS". */
  readonly orientation: string;
}

/** A NIfTI file in memory: i runs along rows (W), j along columns (H), k along slices (S). */
export interface NiftiVolume extends Volume {
  /** Where the voxels lie in space. */
  readonly header: NiftiHeader;
  /** Number of NaN and infinite voxels, which were replaced by 0. */
  readonly replaced: number;
}

type Header = NIFTI1 | NIFTI2;
type Elements = ArrayLike<number | bigint>;

const TYPES = new Map<number, { bytes: number; view: (data: ArrayBuffer) => Elements }>([
  [NIFTI1.TYPE_UINT8, { bytes: 1, view: (d) => new Uint8Array(d) }],
  [NIFTI1.TYPE_INT8, { bytes: 1, view: (d) => new Int8Array(d) }],
  [NIFTI1.TYPE_INT16, { bytes: 2, view: (d) => new Int16Array(d) }],
  [NIFTI1.TYPE_UINT16, { bytes: 2, view: (d) => new Uint16Array(d) }],
  [NIFTI1.TYPE_INT32, { bytes: 4, view: (d) => new Int32Array(d) }],
  [NIFTI1.TYPE_UINT32, { bytes: 4, view: (d) => new Uint32Array(d) }],
  [NIFTI1.TYPE_FLOAT32, { bytes: 4, view: (d) => new Float32Array(d) }],
  [NIFTI1.TYPE_FLOAT64, { bytes: 8, view: (d) => new Float64Array(d) }],
  [NIFTI1.TYPE_INT64, { bytes: 8, view: (d) => new BigInt64Array(d) }],
  [NIFTI1.TYPE_UINT64, { bytes: 8, view: (d) => new BigUint64Array(d) }],
]);

/** How files of more than one volume are read. */
export interface NiftiOptions {
  /** Takes the first volume of a file that has several, instead of refusing it. */
  readonly firstVolume?: boolean;
}

/**
 * Reads a .nii or .nii.gz file; intensities are scaled by scl_slope and scl_inter.
 *
 * @throws {DataError} if it is not NIfTI, damaged, has more than three dimensions, or an element
 * type that is not a real number.
 */
export async function readNifti(path: string, options: NiftiOptions = {}): Promise<NiftiVolume> {
  return decodeNifti(path, await readBytes(path), options);
}

/** `readNifti` for bytes at hand; `path` names them in errors and gives the volume's id. */
export function decodeNifti(
  path: string,
  bytes: Uint8Array<ArrayBuffer>,
  { firstVolume = false }: NiftiOptions = {},
): NiftiVolume {
  const plain = isGzip(bytes) ? gunzip(path, bytes) : bytes;
  const buffer = plain.buffer.slice(plain.byteOffset, plain.byteOffset + plain.byteLength);
  const header = parseHeader(path, buffer);
  const dims = checkedDims(path, header, firstVolume);
  const { image, replaced } = readVoxels(path, header, buffer, dims[0] * dims[1] * dims[2]);
  const id = volumeId(path);
  const shape: VolumeShape = [dims[2], dims[1], dims[0]];
  const kept = keepHeader(header, dims, new DataView(buffer));
  const spacing = spacingOf(kept);
  return { id, patient: id, image, shape, ...(spacing && { spacing }), header: kept, replaced };
}

/** The name of a volume's file without folder and ending. */
export function volumeId(path: string): string {
  return (path.split(/[\\/]/).at(-1) ?? path).replace(/\.(nii(\.gz)?|h5|hdf5)$/i, "");
}

// ---- reading -----------------------------------------------------------------------------------

function parseHeader(path: string, buffer: ArrayBuffer): Header {
  let header: Header | null = null;
  try {
    if (buffer.byteLength >= 348 && isNIFTI(buffer)) header = readHeader(buffer);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new DataError(`${path} has a damaged NIfTI header: ${reason}.`);
  }
  if (header === null) {
    throw new DataError(`${path} is not a NIfTI file: it has no NIfTI-1 or NIfTI-2 header.`);
  }
  return header;
}

function checkedDims(
  path: string,
  header: Header,
  firstVolume: boolean,
): [number, number, number] {
  const rank = header.dims[0] ?? 0;
  const sizes = header.dims.slice(1, 1 + rank);
  if (rank < 1 || rank > 7 || sizes.some((n) => !Number.isInteger(n) || n < 1)) {
    throw new DataError(`${path} has a damaged NIfTI header: its sizes are [${sizes.join(", ")}].`);
  }
  if (!firstVolume && sizes.slice(3).some((n) => n > 1)) {
    throw new DataError(
      `${path} has ${sizes.length} dimensions of sizes [${sizes.join(", ")}], but only volumes ` +
        `of three dimensions can be read: split it into one file a frame.`,
    );
  }
  return [sizes[0] ?? 1, sizes[1] ?? 1, sizes[2] ?? 1];
}

function readVoxels(path: string, header: Header, buffer: ArrayBuffer, count: number) {
  const type = TYPES.get(header.datatypeCode);
  if (type === undefined) {
    throw new DataError(
      `${path} has the NIfTI element type ${header.datatypeCode}, which is not supported: ` +
        `convert it to a real number type such as float32 or int16.`,
    );
  }
  const start = Math.max(header.vox_offset, header instanceof NIFTI1 ? 348 : 540);
  const end = start + count * type.bytes;
  if (!Number.isFinite(start) || buffer.byteLength < end) {
    throw new DataError(
      `${path} is cut short: it has ${buffer.byteLength} bytes but its header asks for ${end}.`,
    );
  }
  const raw = buffer.slice(start, end);
  if (!header.littleEndian) swapBytes(new Uint8Array(raw), type.bytes);
  const voxels = type.view(raw);
  const scaled = Number.isFinite(header.scl_slope) && header.scl_slope !== 0;
  const slope = scaled ? header.scl_slope : 1;
  const inter = scaled && Number.isFinite(header.scl_inter) ? header.scl_inter : 0;
  const image = new Float32Array(count);
  let replaced = 0;
  for (let i = 0; i < count; i++) {
    image[i] = Number(voxels[i]) * slope + inter;
    if (!Number.isFinite(image[i])) {
      image[i] = 0;
      replaced++;
    }
  }
  return { image, replaced };
}

function swapBytes(data: Uint8Array, size: number): void {
  for (let at = 0; at < data.length; at += size) data.subarray(at, at + size).reverse();
}

function keepHeader(header: Header, dims: [number, number, number], view: DataView): NiftiHeader {
  const { pixDims, affine } = header;
  // The reader puts either form into its affine; the sform is kept as it is stored.
  const srow = Array.from(
    { length: 12 },
    (_, i) =>
      header instanceof NIFTI1
        ? view.getFloat32(280 + 4 * i, header.littleEndian)
        : view.getFloat64(400 + 8 * i, header.littleEndian),
  );
  return {
    dims,
    pixDims: [pixDims[0] ?? 1, pixDims[1] ?? 0, pixDims[2] ?? 0, pixDims[3] ?? 0],
    units: header.xyzt_units,
    qformCode: header.qform_code,
    sformCode: header.sform_code,
    quaternion: [header.quatern_b, header.quatern_c, header.quatern_d],
    qoffset: [header.qoffset_x, header.qoffset_y, header.qoffset_z],
    srow,
    affine: affine.map((row) => [...row]),
    orientation: orientationOf(affine),
  };
}

/** The world axis that each voxel axis follows most, largest matches first. */
function orientationOf(affine: readonly (readonly number[])[]): string {
  const letters = [["L", "R"], ["P", "A"], ["I", "S"]] as const;
  const codes = ["?", "?", "?"];
  const entries = [0, 1, 2].flatMap((row) =>
    [0, 1, 2].map((column) => ({ row, column, value: affine[row]?.[column] ?? 0 }))
  ).toSorted((a, b) => Math.abs(b.value) - Math.abs(a.value));
  const used = new Set<number>();
  for (const { row, column, value } of entries) {
    if (used.has(row) || codes[column] !== "?" || value === 0) continue;
    used.add(row);
    codes[column] = letters[row]![value > 0 ? 1 : 0];
  }
  return codes.join("");
}

function spacingOf({ pixDims, units }: NiftiHeader): Spacing | undefined {
  const unit = units & NIFTI1.SPATIAL_UNITS_MASK;
  const mm = unit === NIFTI1.UNITS_METER ? 1000 : unit === NIFTI1.UNITS_MICRON ? 0.001 : 1;
  const [, x, y, z] = pixDims.map((size) => Math.abs(size) * mm) as [
    number,
    number,
    number,
    number,
  ];
  return [x, y, z].every((size) => Number.isFinite(size) && size > 0) ? [z, y, x] : undefined;
}

// ---- writing -----------------------------------------------------------------------------------

/**
 * The header of a volume of which nothing says where it lies, such as a stack of images: voxel axes
 * along the world's, from the origin.
 */
export function plainHeader(
  { shape: [S, H, W], spacing }: Pick<Volume, "shape" | "spacing">,
): NiftiHeader {
  const [z, y, x] = spacing ?? [1, 1, 1];
  const affine = [[x, 0, 0, 0], [0, y, 0, 0], [0, 0, z, 0], [0, 0, 0, 1]];
  return {
    dims: [W, H, S],
    pixDims: [1, x, y, z],
    units: spacing ? 2 : 0,
    qformCode: 0,
    sformCode: 0,
    quaternion: [0, 0, 0],
    qoffset: [0, 0, 0],
    srow: affine.slice(0, 3).flat(),
    affine,
    orientation: "RAS",
  };
}

/**
 * Writes labels [S, H, W] as a NIfTI-1 volume of unsigned bytes that lies exactly where the
 * volume of `header` lies (spacing, qform, sform); compressed if `path` ends in .gz. The file
 * appears under its name only when it is complete.
 *
 * @throws {DataError} if the sizes disagree, or the file cannot be named so or written.
 *
 * @example A scan segmented from a box on its middle slice
 * ```ts
 * import { CONFIGS, FlatParameters, Sam2, VolumePredictor } from "sam2";
 * import { plainHeader, readNifti, writeNifti } from "sam2";
 *
 * const folder = await Deno.makeTempDir();
 * const header = plainHeader({ shape: [5, 32, 32], spacing: [8, 1.5, 1.5] });
 * await writeNifti(`${folder}/scan.nii.gz`, new Uint8Array(5 * 32 * 32), header);
 *
 * const scan = await readNifti(`${folder}/scan.nii.gz`);
 * const model = new Sam2({ ...CONFIGS.nano, imageSize: 64 });
 * await FlatParameters.create(model); // random weights; loadWeights() puts others in their place
 * const predictor = new VolumePredictor(model, { data: scan.image, shape: scan.shape });
 * await predictor.addPointsOrBox(2, 1, { box: [8, 8, 20, 24] });
 * const { labels } = await predictor.segment();
 * await predictor.close();
 * await writeNifti(`${folder}/labels.nii.gz`, labels, scan.header); // where the scan lies
 * ```
 */
export async function writeNifti(
  path: string,
  labels: Uint8Array,
  header: NiftiHeader,
): Promise<void> {
  const compressed = /\.nii\.gz$/i.test(path);
  if (!compressed && !/\.nii$/i.test(path)) {
    throw new DataError(`Cannot write ${path}: the name of a NIfTI file ends in .nii or .nii.gz.`);
  }
  const [nx, ny, nz] = header.dims;
  if (labels.length !== nx * ny * nz) {
    throw new DataError(
      `Cannot write ${path}: ${labels.length} labels do not fill ${nz} x ${ny} x ${nx} voxels.`,
    );
  }
  if (Math.max(nx, ny, nz) > 32767) {
    throw new DataError(
      `Cannot write ${path}: a NIfTI-1 file has at most 32767 voxels along an axis, not ` +
        `${Math.max(nx, ny, nz)}.`,
    );
  }
  const bytes = new Uint8Array(352 + labels.length);
  fillHeader(new DataView(bytes.buffer), header);
  bytes.set(labels, 352);
  await writeFileAtomically(path, [compressed ? gzip(bytes) : bytes]);
}

/** Field offsets of the NIfTI-1 header. Source: nifti1.h of the NIfTI working group. */
function fillHeader(view: DataView, header: NiftiHeader): void {
  const floats = (offset: number, values: readonly number[]) =>
    values.forEach((value, i) => view.setFloat32(offset + 4 * i, value, true));
  view.setInt32(0, 348, true);
  [3, ...header.dims, 1, 1, 1, 1].forEach((n, i) => view.setInt16(40 + 2 * i, n, true));
  view.setInt16(70, NIFTI1.TYPE_UINT8, true);
  view.setInt16(72, 8, true);
  floats(76, header.pixDims);
  floats(108, [352, 1, 0]); // vox_offset, scl_slope, scl_inter
  view.setUint8(123, header.units);
  view.setInt16(252, header.qformCode, true);
  view.setInt16(254, header.sformCode, true);
  floats(256, [...header.quaternion, ...header.qoffset, ...header.srow]);
  [0x6e, 0x2b, 0x31, 0].forEach((byte, i) => view.setUint8(344 + i, byte)); // "n+1\0"
}
