// Before and after in one frame, parted by a slider: the source as it would look in the same place
// beside the rendition.
import { make } from "./dom.js";
import { bytes, change } from "./units.js";

/**
 * The source in the pixels of a rendition: its crop, or all of it within the box (`contain`).
 * Null where the browser cannot show the source (TIFF, most AVIF sequences).
 */
async function drawSource(file, variant, place) {
  const { width, height, crop } = variant;
  const canvas = make("canvas", { width, height });
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  let whole;
  try {
    // Upright as a whole: given a crop, Chromium cuts before it turns by the EXIF orientation.
    whole = await createImageBitmap(file);
  } catch {
    return null;
  }
  if (crop) context.drawImage(whole, ...crop, 0, 0, width, height);
  else {
    const fitting = Math.min(width / whole.width, height / whole.height);
    const scale = place?.enlarge === false ? Math.min(1, fitting) : fitting;
    const [w, h] = [whole.width * scale, whole.height * scale];
    context.drawImage(whole, (width - w) / 2, (height - h) / 2, w, h);
  }
  whole.close();
  return canvas;
}

/** Shows a rendition against its source in `figure`; a later call wins over an earlier one. */
export async function compare(figure, { file, source, variant, url, place, title }) {
  figure.dataset.of = variant.name;
  const before = await drawSource(file, variant, place);
  if (figure.dataset.of !== variant.name) return;
  const frame = make(
    "div",
    {
      class: "frame",
      vars: { "--ratio": String(variant.width / variant.height), "--width": `${variant.width}px` },
    },
    make("img", { src: url, alt: `${title}, the rendition`, draggable: "false" }),
  );
  if (before) frame.append(...slider(frame, before));
  figure.replaceChildren(
    frame,
    make(
      "figcaption",
      {},
      make("h2", {}, title),
      make("p", {}, `${variant.width} × ${variant.height} px, ${variant.format.toUpperCase()}`),
      make(
        "p",
        { class: "sizes" },
        make("span", {}, bytes(source.bytes)),
        make("span", { "aria-hidden": "true" }, "→"),
        make("span", {}, bytes(variant.bytes)),
        changed(source.bytes, variant.bytes),
      ),
      make(
        "p",
        { class: "faint" },
        before
          ? "Left the original, right the rendition. Move the line."
          : "This browser cannot show the original, so there is nothing to compare with.",
      ),
    ),
  );
}

/** By how much it is smaller, or larger: a small picture enlarged for a large place. */
export function changed(before, after) {
  return make("b", { class: "change", "data-grew": after > before }, change(before, after));
}

function slider(frame, before) {
  const range = make("input", {
    type: "range",
    min: "0",
    max: "100",
    value: "50",
    step: "0.5",
    "aria-label": "How much of the original is shown, in percent",
  });
  const set = () => frame.style.setProperty("--at", `${range.value}%`);
  range.addEventListener("input", set);
  set();
  before.className = "before";
  before.setAttribute("aria-hidden", "true");
  return [
    before,
    make("span", { class: "handle", "aria-hidden": "true" }),
    make("span", { class: "tag tag-before", "aria-hidden": "true" }, "original"),
    make("span", { class: "tag tag-after", "aria-hidden": "true" }, "rendition"),
    range,
  ];
}
