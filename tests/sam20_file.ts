/** A file that is told as SAM 2.0 T, without its weights. */
import { writeSafetensors } from "../engine/safetensors.ts";

/** The keys by which SAM 2.0 T is told, in small types. */
export async function writeSam20(path: string): Promise<void> {
  const shapes: [string, number[]][] = [
    ["image_encoder.trunk.patch_embed.proj.weight", [96, 3, 7, 7]],
    ["image_encoder.trunk.pos_embed", [1, 96, 7, 7]],
    ["image_encoder.neck.convs.0.conv.weight", [256, 768, 1, 1]],
  ];
  for (let i = 0; i < 12; i++) shapes.push([`image_encoder.trunk.blocks.${i}.norm1.weight`, [1]]);
  const tensors = shapes.map(([key, shape]) => {
    return [key, { shape, data: new Uint8Array(shape.reduce((a, b) => a * b)) }] as const;
  });
  await writeSafetensors(path, tensors);
}
