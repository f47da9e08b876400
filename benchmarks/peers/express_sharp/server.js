// The Express + sharp backend that OmniShot replaces, set up as well as sharp can be for many small requests:
// one libvips thread per image and libuv's four threads beside each other, no operation cache (no input repeats).
import express from "express";
import sharp from "sharp";

sharp.concurrency(1);
sharp.cache(false);

const FORMATS = new Set(["jpeg", "webp", "avif", "png"]);
const FITS = new Set(["cover", "contain", "inside", "outside", "fill"]);
const MAX_SIDE = 8192;
const MAX_VARIANTS = 64;

class BadRequest extends Error {
  status = 400;
}

function integer(query, name, low, high, fallback) {
  const text = query[name];
  if (text === undefined || text === "") return fallback;
  const value = Number(text);
  if (!Number.isInteger(value) || value < low || value > high) {
    throw new BadRequest(`${name} must be a whole number from ${low} to ${high}`);
  }
  return value;
}

function choice(query, name, allowed, fallback) {
  const value = query[name] ?? fallback;
  if (!allowed.has(value)) throw new BadRequest(`${name} must be one of ${[...allowed].join(", ")}`);
  return value;
}

function flag(query, name) {
  return ["1", "true"].includes(choice(query, name, new Set(["0", "1", "false", "true"]), "0"));
}

function boxes(query) {
  const found = (query.sizes ?? "").split(",").map((size) => /^(\d{1,4})x(\d{1,4})$/.exec(size));
  if (found.length > MAX_VARIANTS || !found.every(Boolean)) {
    throw new BadRequest(`sizes must be up to ${MAX_VARIANTS} boxes such as 1080x1080,1080x1350`);
  }
  const asked = found.map(([name, width, height]) => ({ name, width: Number(width), height: Number(height) }));
  if (asked.some(({ width, height }) => [width, height].some((side) => side < 1 || side > MAX_SIDE))) {
    throw new BadRequest(`each side must be from 1 to ${MAX_SIDE}`);
  }
  return asked;
}

function image(request) {
  if (!Buffer.isBuffer(request.body) || request.body.length === 0) {
    throw new BadRequest("the body must be an image, sent with a Content-Type of image/*");
  }
  return request.body;
}

function encode(pipeline, format, { quality, mozjpeg }) {
  return pipeline.toFormat(format, format === "jpeg" ? { quality, mozjpeg } : { quality }).toBuffer({
    resolveWithObject: true,
  });
}

const app = express();
app.disable("x-powered-by");
app.set("etag", false);
const body = express.raw({ type: ["image/*", "application/octet-stream"], limit: "32mb" });

app.get("/health", (_request, response) => {
  response.json({ status: "ok", node: process.versions.node, sharp: sharp.versions.sharp, vips: sharp.versions.vips });
});

app.post(["/optimize", "/api/optimize"], body, async (request, response) => {
  const { query } = request;
  const width = integer(query, "width", 1, MAX_SIDE);
  const height = integer(query, "height", 1, MAX_SIDE);
  const fit = choice(query, "fit", FITS, width && height ? "cover" : "inside");
  const format = choice(query, "format", FORMATS, "jpeg");
  const settings = { quality: integer(query, "quality", 1, 100, 80), mozjpeg: flag(query, "mozjpeg") };
  const pipeline = sharp(image(request)).autoOrient();
  if (width || height) pipeline.resize({ width, height, fit });
  const { data } = await encode(pipeline, format, settings);
  response.type(format).send(data);
});

// Two ways. With `each`, what sharp's documentation shows: one clone() of the input per size, each decodes with
// shrink-on-load. Without, decoded once to raw pixels and every rendition resized from those. Measured on two cores,
// four platforms, eight requests at once, the second way gives 1.3 times the requests per second for 1600 px sources
// and 1.4 to 1.5 times for 3200 px ones; with mozjpeg, where the encoder takes nearly all the time, 1.0 to 1.15 times.
app.post("/variants", body, async (request, response) => {
  const { query } = request;
  const asked = boxes(query);
  const settings = { quality: integer(query, "quality", 1, 100, 85), mozjpeg: flag(query, "mozjpeg") };
  const source = sharp(image(request)).autoOrient();
  let copy = () => source.clone();
  if (!flag(query, "each")) {
    const pixels = await source.raw().toBuffer({ resolveWithObject: true });
    const { width, height, channels } = pixels.info;
    copy = () => sharp(pixels.data, { raw: { width, height, channels } });
  }
  const variants = await Promise.all(
    asked.map(async (box) => {
      const pipeline = copy();
      pipeline.resize({ width: box.width, height: box.height, fit: "cover" });
      const { data, info } = await encode(pipeline, "jpeg", settings);
      return {
        name: box.name,
        width: info.width,
        height: info.height,
        format: info.format,
        bytes: data.length,
        data: data.toString("base64"),
      };
    }),
  );
  response.json({ variants });
});

app.use((request, response) => {
  response.status(404).json({ error: `no route for ${request.method} ${request.path}` });
});

// Parsing errors carry a status of their own; what sharp cannot read is the sender's fault.
app.use((error, _request, response, _next) => {
  response.status(error.status ?? 422).json({ error: error.message });
});

const server = app.listen(Number(process.env.PORT ?? 3000), "127.0.0.1", (error) => {
  if (error) throw error;
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
});

process.on("SIGTERM", () => {
  server.close();
  server.closeAllConnections();
});
