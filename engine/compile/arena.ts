/** Memory of one plan: offsets of intermediates in one arena, reused when their last reader has run. */

/** A window of the arena. */
export interface Window {
  readonly offset: number;
  readonly bytes: number;
}

/** Assigns windows best-fit and takes them back; the peak is the size that the arena needs. */
export class ArenaLayout {
  private free: Window[] = [];
  private end = 0;

  /** @param alignment byte alignment of every offset. */
  constructor(private readonly alignment: number) {}

  /** Bytes that the arena needs. */
  get peak(): number {
    return this.end;
  }

  /** A window of at least `bytes`. */
  allocate(bytes: number): Window {
    const size = Math.ceil(Math.max(bytes, 16) / this.alignment) * this.alignment;
    let best = -1;
    for (const [i, window] of this.free.entries()) {
      if (window.bytes >= size && (best < 0 || window.bytes < this.free[best].bytes)) best = i;
    }
    if (best >= 0) {
      const window = this.free[best];
      if (window.bytes === size) this.free.splice(best, 1);
      else this.free[best] = { offset: window.offset + size, bytes: window.bytes - size };
      return { offset: window.offset, bytes: size };
    }
    const tail = this.free.findIndex((w) => w.offset + w.bytes === this.end);
    const offset = tail >= 0 ? this.free[tail].offset : this.end;
    if (tail >= 0) this.free.splice(tail, 1);
    this.end = offset + size;
    return { offset, bytes: size };
  }

  /** Takes a window back and joins it with free neighbours. */
  release(window: Window): void {
    let { offset, bytes } = window;
    this.free = this.free.filter((other) => {
      if (other.offset + other.bytes === offset) {
        offset = other.offset;
        bytes += other.bytes;
        return false;
      }
      if (offset + bytes === other.offset) {
        bytes += other.bytes;
        return false;
      }
      return true;
    });
    this.free.push({ offset, bytes });
  }
}
