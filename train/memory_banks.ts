/** One self-sorting memory bank per class, and what a training step draws from it. */
import { MemoryBank } from "../model/sss/memory_bank.ts";

/** With each item its embedding as a unit vector, which many steps ask for. */
type Bank = MemoryBank<Float32Array>;

function unitVector(values: Float32Array): Float32Array {
  const norm = Math.sqrt(values.reduce((sum, v) => sum + v * v, 0)) || 1;
  return values.map((v) => v / norm);
}

/** Sizes of what the banks keep. */
export interface MemorySizes {
  readonly classes: number;
  /** Items of a bank. */
  readonly size: number;
  readonly iouSlack: number;
  /** Values of one memory map, memDim (R / 16)^2, channels first. */
  readonly memory: number;
  /** Values of one image embedding, dModel (R / 16)^2. */
  readonly embedding: number;
}

/** The banks of one class list as arrays of fixed size, ready to be uploaded. */
export interface BankArrays {
  /** [C, size, memory] */
  readonly memories: Float32Array<ArrayBuffer>;
  /** Unit vectors, [C, size, embedding] */
  readonly embeddings: Float32Array<ArrayBuffer>;
  /** 1 where an item exists, [C, size] */
  readonly filled: Float32Array<ArrayBuffer>;
}

/** The memory banks of all classes. */
export class MemoryBanks {
  readonly banks: readonly Bank[];

  constructor(private readonly sizes: MemorySizes) {
    this.banks = Array.from(
      { length: sizes.classes },
      () => new MemoryBank<Float32Array>(sizes.size, sizes.iouSlack),
    );
  }

  /** True once every class has something to remember. */
  get ready(): boolean {
    return this.banks.every((bank) => bank.items.length > 0);
  }

  /**
   * Offers what a batch leaves behind.
   *
   * @param memories [B C, memory]
   * @param embeddings [B, embedding]
   * @param ious [B, C]
   */
  offer(memories: Float32Array, embeddings: Float32Array, ious: Float32Array): void {
    const { classes, memory, embedding } = this.sizes;
    for (let image = 0; image * classes < ious.length; image++) {
      const own = embeddings.slice(image * embedding, (image + 1) * embedding);
      const payload = unitVector(own);
      this.banks.forEach((bank, c) => {
        const i = image * classes + c;
        bank.offer({
          memory: memories.slice(i * memory, (i + 1) * memory),
          embedding: own,
          iou: ious[i],
          payload,
        });
      });
    }
  }

  /** All items in fixed places. */
  arrays(): BankArrays {
    const { classes, size, memory, embedding } = this.sizes;
    const memories = new Float32Array(classes * size * memory);
    const embeddings = new Float32Array(classes * size * embedding);
    const filled = new Float32Array(classes * size);
    this.banks.forEach((bank, c) =>
      bank.items.forEach((item, i) => {
        const at = c * size + i;
        memories.set(item.memory, at * memory);
        embeddings.set(item.payload, at * embedding);
        filled[at] = 1;
      })
    );
    return { memories, embeddings, filled };
  }

  /** The `count` memories most probable for an image, for each class, [C, count, memory]; test time. */
  top(embedding: Float32Array, count: number): Float32Array<ArrayBuffer> {
    const { classes, memory } = this.sizes;
    const out = new Float32Array(classes * count * memory);
    this.banks.forEach((bank, c) => {
      const chosen = bank.top(embedding, count);
      // A bank with fewer items than draws repeats them: the number of tokens stays the same.
      for (let i = 0; i < count; i++) {
        out.set(bank.items[chosen[i % chosen.length]].memory, (c * count + i) * memory);
      }
    });
    return out;
  }

  /** Empties all banks; no memory crosses volumes at test time. */
  clear(): void {
    for (const bank of this.banks) bank.clear();
  }

  /** All items of all banks, flat, for a checkpoint. */
  save(): {
    counts: number[];
    memories: Float32Array;
    embeddings: Float32Array;
    ious: Float32Array;
  } {
    const items = this.banks.flatMap((bank) => bank.items);
    const { memory, embedding } = this.sizes;
    const memories = new Float32Array(items.length * memory);
    const embeddings = new Float32Array(items.length * embedding);
    items.forEach((item, i) => {
      memories.set(item.memory, i * memory);
      embeddings.set(item.embedding, i * embedding);
    });
    return {
      counts: this.banks.map((bank) => bank.items.length),
      memories,
      embeddings,
      ious: Float32Array.from(items, (item) => item.iou),
    };
  }

  /** Takes over what {@link save} gave. */
  load(saved: ReturnType<MemoryBanks["save"]>): void {
    const { memory, embedding } = this.sizes;
    let at = 0;
    this.clear();
    saved.counts.forEach((count, c) => {
      for (let i = 0; i < count; i++, at++) {
        const own = saved.embeddings.slice(at * embedding, (at + 1) * embedding);
        this.banks[c].offer({
          memory: saved.memories.slice(at * memory, (at + 1) * memory),
          embedding: own,
          iou: saved.ious[at],
          payload: unitVector(own),
        });
      }
    });
  }
}
