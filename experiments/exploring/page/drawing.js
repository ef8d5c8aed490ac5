// How arrays become pictures on canvases.
import { part } from "./asking.js";

const MARK_SCALE = 12; // marks are drawn on so many points a pixel

export const css = ([red, green, blue]) => `rgb(${red} ${green} ${blue})`;

// Draws u8[h w 3] at its own size; the style sheet enlarges it. Null is blank.
export function paint(canvas, pixels, height, width) {
  if (canvas.height !== height || canvas.width !== width) Object.assign(canvas, { height, width });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!pixels) { context.clearRect(0, 0, width, height); return; }
  const image = context.createImageData(width, height);
  for (let i = 0, j = 0; i < pixels.length; i += 3, j += 4) {
    image.data[j] = pixels[i]; image.data[j + 1] = pixels[i + 1]; image.data[j + 2] = pixels[i + 2]; image.data[j + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

// The row of the slot with the largest share of a pixel; masks u8[k h w].
export function winner(masks, rows, size, pixel) {
  let best = 0;
  for (let row = 1; row < rows; row++) if (masks[row * size + pixel] > masks[best * size + pixel]) best = row;
  return best;
}

// The slots' colours over a picture.
export function segments(picture, masks, colors, size) {
  const mixed = new Uint8Array(size * 3);
  for (let pixel = 0; pixel < size; pixel++) {
    const color = colors[winner(masks, colors.length, size, pixel)];
    for (let c = 0; c < 3; c++) mixed[3 * pixel + c] = 0.45 * picture[3 * pixel + c] + 0.55 * color[c];
  }
  return mixed;
}

// What one slot draws where its mask lets it, on white.
export function cutOut(rgb, mask) {
  const drawn = new Uint8Array(mask.length * 3);
  for (let i = 0; i < drawn.length; i++) {
    const share = mask[(i / 3) | 0] / 255;
    drawn[i] = Math.round(share * (rgb ? rgb[i] : 90) + (1 - share) * 255);
  }
  return drawn;
}

export const difference = (a, b) => a.map((value, i) => Math.min(255, 4 * Math.abs(value - b[i])));

// Mean squared error of two pictures, in [0, 1].
export function squaredError(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] - b[i]) ** 2;
  return sum / a.length / 255 ** 2;
}

// A line twice: broad in a colour that stands out from the narrow one above it.
function outlined(context, color, width, draw) {
  for (const [stroke, broad] of [["#000", width + 4], ["#fff", width + 2], [color, width]]) {
    Object.assign(context, { strokeStyle: stroke, lineWidth: broad, lineCap: "round", lineJoin: "round" });
    context.beginPath(); draw(context); context.stroke();
  }
}

function arrow(context, [x, y], [dx, dy], color, width) {
  const length = Math.hypot(dx, dy), head = Math.min(9, length / 2), angle = Math.atan2(dy, dx);
  if (length < 3) return;
  outlined(context, color, width, (c) => {
    c.moveTo(x, y); c.lineTo(x + dx, y + dy);
    for (const turn of [2.6, -2.6]) {
      c.moveTo(x + dx, y + dy); c.lineTo(x + dx + head * Math.cos(angle + turn), y + dy + head * Math.sin(angle + turn));
    }
  });
}

// Marks over the model's picture: `scene` says what, positions in pixels of the picture.
export function mark(canvas, height, width, scene) {
  const scale = MARK_SCALE * Math.max(1, Math.round(32 / height));
  Object.assign(canvas, { height: height * scale, width: width * scale });
  const context = canvas.getContext("2d");
  const at = ([x, y]) => [(x + 0.5) * scale, (y + 0.5) * scale];
  for (const { points, color } of scene.paths ?? []) {
    context.setLineDash([2, 7]);
    outlined(context, color, 2, (c) => points.forEach((point, i) => (i ? c.lineTo(...at(point)) : c.moveTo(...at(point)))));
    context.setLineDash([]);
  }
  for (const { from, to, strength, color } of scene.lines ?? []) {
    if (strength > 0.03) outlined(context, color, 8 * strength, (c) => { c.moveTo(...at(from)); c.lineTo(...at(to)); });
  }
  for (const { from, by, color } of scene.arrows ?? []) arrow(context, at(from), by.map((x) => x * scale), color, 3);
  for (const { place, color, name, held } of scene.marks ?? []) {
    const [x, y] = at(place);
    outlined(context, color, held ? 5 : 2, (c) => c.arc(x, y, held ? 13 : 9, 0, 7));
    Object.assign(context, { font: "bold 13px system-ui, sans-serif", textAlign: "center", textBaseline: "middle",
      fillStyle: "#fff", strokeStyle: "#000", lineWidth: 3 });
    context.strokeText(name, x, y); context.fillText(name, x, y);
  }
}

// A curve of values over steps from 0, with its axes; `at` is marked.
export function curve(canvas, values, at, style) {
  const context = canvas.getContext("2d"), { width, height } = canvas;
  const ink = style.getPropertyValue("--ink"), soft = style.getPropertyValue("--soft");
  context.clearRect(0, 0, width, height);
  const top = Math.max(...values, 1e-6), left = 62, bottom = height - 24, last = Math.max(values.length - 1, 1);
  const place = (step, value) => [left + (step / last) * (width - left - 10), bottom - (value / top) * (bottom - 12)];
  Object.assign(context, { strokeStyle: soft, fillStyle: soft, lineWidth: 1, font: "13px system-ui, sans-serif" });
  context.beginPath(); context.moveTo(left, 8); context.lineTo(left, bottom); context.lineTo(width - 8, bottom); context.stroke();
  Object.assign(context, { textAlign: "right", textBaseline: "middle" });
  context.fillText(top.toPrecision(2), left - 6, 14); context.fillText("0", left - 6, bottom);
  Object.assign(context, { textAlign: "center", textBaseline: "top" });
  context.fillText("frames after the last seen one", (left + width) / 2, bottom + 6);
  Object.assign(context, { strokeStyle: ink, lineWidth: 2.5 });
  context.beginPath(); values.forEach((value, i) => (i ? context.lineTo(...place(i, value)) : context.moveTo(...place(i, value)))); context.stroke();
  if (at >= 0 && at < values.length) {
    context.fillStyle = ink; context.beginPath(); context.arc(...place(at, values[at]), 5, 0, 7); context.fill();
  }
}

// The rows of pictures of one frame: {picture, masks, rgb, centre, share}, null where the model has none.
export function frameOf(arrays, index) {
  const get = (name) => (arrays[name] ? part(arrays[name], index) : null);
  return { picture: get("reconstruction"), masks: get("masks"), rgb: get("slot_rgb"), centre: get("centre"), share: get("share") };
}
