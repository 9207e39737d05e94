/** Objects whose memories line up alike attend to them as one batch. */
import {
  type SelectedMemory,
  type SelectionConfig,
  type SelectionQuery,
  selectMemory,
} from "../sam2/memory_selection.ts";
import type { MemoryBank } from "../sam2/sam2.ts";
import type { ObjectOutput, ObjectState } from "./object_state.ts";
import { type Row, stackRows } from "./shared_rows.ts";

/** Objects with memories of one layout. */
export interface MemoryGroup {
  /** Positions of the objects in the list that was given. */
  readonly members: readonly number[];
  /** Their memories, one row per member. */
  readonly bank: MemoryBank;
}

type Selected = SelectedMemory<ObjectOutput>;

/** What must agree for memories to be stacked: how many there are, and how far away. */
function layoutOf({ memories, pointers }: Selected): string {
  const rows = memories.map(({ temporalRow }) => temporalRow);
  return `${rows}|${pointers.map(({ distance }) => distance)}`;
}

function memoryRow({ memory }: ObjectOutput): Row {
  if (!memory) throw new Error("A remembered frame has no memory.");
  return memory;
}

function stackBank(selections: readonly Selected[]): MemoryBank {
  const [{ memories, pointers, pointerSpan }] = selections;
  return {
    memories: memories.map(({ temporalRow }, i) => ({
      features: stackRows(selections.map((s) => memoryRow(s.memories[i].output))),
      temporalRow,
    })),
    pointers: pointers.map(({ distance }, i) => ({
      pointer: stackRows(selections.map((s) => s.pointers[i].output.pointer)),
      distance,
    })),
    pointerSpan,
  };
}

/**
 * Chooses the memories of every object for a frame, and gathers objects of equal layout.
 *
 * @throws {UserError} where an object has no prompted frame.
 */
export function groupMemories(
  objects: readonly ObjectState[],
  query: SelectionQuery,
  config: SelectionConfig,
): MemoryGroup[] {
  const groups = new Map<string, { members: number[]; selections: Selected[] }>();
  for (const [i, object] of objects.entries()) {
    const selected = selectMemory(object.outputs, query, config);
    const layout = layoutOf(selected);
    let group = groups.get(layout);
    if (!group) groups.set(layout, group = { members: [], selections: [] });
    group.members.push(i);
    group.selections.push(selected);
  }
  return [...groups.values()].map(({ members, selections }) => ({
    members,
    bank: stackBank(selections),
  }));
}
