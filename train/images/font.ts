/** A bitmap font of 3 x 5 pixels for captions. */
import { blank, type Colour, type Picture } from "./picture.ts";

/** Rows of each glyph from top to bottom, three bits each, as five octal digits. */
const GLYPHS: Readonly<Record<string, string>> = {
  " ": "00000",
  "A": "25755",
  "B": "65656",
  "C": "34443",
  "D": "65556",
  "E": "74647",
  "F": "74644",
  "G": "34553",
  "H": "55755",
  "I": "72227",
  "J": "11152",
  "K": "55655",
  "L": "44447",
  "M": "57755",
  "N": "65555",
  "O": "25552",
  "P": "65644",
  "Q": "25563",
  "R": "65655",
  "S": "34216",
  "T": "72222",
  "U": "55557",
  "V": "55552",
  "W": "55775",
  "X": "55255",
  "Y": "55222",
  "Z": "71247",
  "0": "75557",
  "1": "26227",
  "2": "61247",
  "3": "61216",
  "4": "55711",
  "5": "74616",
  "6": "34757",
  "7": "71222",
  "8": "75757",
  "9": "75716",
  ".": "00002",
  ",": "00024",
  ":": "02020",
  "-": "00700",
  "_": "00007",
  "/": "11244",
  "%": "51245",
  "=": "07070",
  "+": "02720",
  "(": "12221",
  ")": "42224",
  "?": "61202",
};

/** Height of a line of text in pixels at scale 1. */
export const LINE_HEIGHT = 5;

/** Width of a text in pixels at scale 1. */
export function textWidth(text: string): number {
  return Math.max(1, [...text].length * 4 - 1);
}

/** A text in capitals on a plain background; characters that the font lacks become "?". */
export function textPicture(text: string, colour: Colour, background: Colour = [0, 0, 0]): Picture {
  const picture = blank(textWidth(text), LINE_HEIGHT, background);
  for (const [at, character] of [...text.toUpperCase()].entries()) {
    const rows = GLYPHS[character] ?? GLYPHS["?"]!;
    for (let y = 0; y < LINE_HEIGHT; y++) {
      const bits = Number(rows[y]);
      for (let x = 0; x < 3; x++) {
        if (bits & (4 >> x)) picture.data.set(colour, (y * picture.width + at * 4 + x) * 3);
      }
    }
  }
  return picture;
}
