// Visual tokens as they are written: a square for each 32 x 32 pixels, filled row by row. What they show is not known
// before the picture is painted, so their shades mean nothing.
const kPixels = 32;
const kCell = 16;  // of the canvas, which the page stretches

// The same shade for the same place each time.
const shade = (index) => 0.25 + 0.6 * ((Math.imul(index + 1, 2654435761) >>> 8) % 1000) / 1000;

// `share`: 0 to 1 of the tokens are written.
export function paintTokens(canvas, size, share) {
  const columns = Math.ceil(size.width / kPixels), rows = Math.ceil(size.height / kPixels);
  const written = Math.round(share * columns * rows);
  const context = canvas.getContext("2d");
  canvas.width = columns * kCell;  // clears it, too
  canvas.height = rows * kCell;
  context.fillStyle = getComputedStyle(canvas).color;
  for (let i = 0; i < written; ++i) {
    context.globalAlpha = shade(i);
    context.fillRect((i % columns) * kCell, Math.floor(i / columns) * kCell, kCell - 1, kCell - 1);
  }
}
