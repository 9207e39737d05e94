/** How well objects were found, by label. */
import { overlap, type OverlapCounts } from "../metrics/overlap.ts";
import { textTable } from "../metrics/text_table.ts";

/** Dice of one label over the sequences that have it. */
export interface LabelDice {
  readonly label: number;
  /** What the label stands for. */
  readonly name: string;
  readonly sequences: number;
  /** Mean over the sequences, 0 to 1. */
  readonly dice: number;
}

/** Pixels of the objects of sequences, counted frame by frame. */
export class DiceTable {
  private readonly counts = new Map<number, Map<string, OverlapCounts>>();

  /** @param names of labels; others are called "object N". */
  constructor(private readonly names: ReadonlyMap<number, string>) {}

  /** Counts the pixels of an object in one more frame of a sequence. */
  add(sequence: string, label: number, { both, prediction, reference }: OverlapCounts): void {
    const known = this.counts.get(label) ?? new Map<string, OverlapCounts>();
    const before = known.get(sequence) ?? { both: 0, prediction: 0, reference: 0 };
    this.counts.set(label, known);
    known.set(sequence, {
      both: before.both + both,
      prediction: before.prediction + prediction,
      reference: before.reference + reference,
    });
  }

  /** A row for each label that some sequence has, in order. */
  rows(): LabelDice[] {
    const labels = [...this.counts.keys()].sort((a, b) => a - b);
    return labels.map((label): LabelDice => {
      const all = [...this.counts.get(label)!.values()];
      const dice = all.reduce((sum, counts) => sum + overlap(counts).dice, 0) / all.length;
      const name = this.names.get(label) ?? `object ${label}`;
      return { label, name, sequences: all.length, dice };
    });
  }

  /** Mean over the labels, 0 to 1; 0 where there are none. */
  mean(): number {
    const rows = this.rows();
    return rows.reduce((sum, { dice }) => sum + dice, 0) / Math.max(1, rows.length);
  }

  /** The rows as text, one line each. */
  toString(): string {
    const percent = (dice: number) => (100 * dice).toFixed(2);
    return textTable([
      ["object", "Dice (%)", "sequences"],
      ...this.rows().map(({ name, dice, sequences }) => [name, percent(dice), `${sequences}`]),
      ["mean", percent(this.mean()), ""],
    ]).join("\n");
  }
}
