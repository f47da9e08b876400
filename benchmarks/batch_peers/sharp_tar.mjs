// A plain script with sharp: node sharp_tar.mjs SHARP ARCHIVE OUT WIDTHS QUALITY CORES
// SHARP is the folder of the package. Members are read from the tar by their places.
import { createRequire } from "node:module";
import { mkdirSync } from "node:fs";
import { open, writeFile } from "node:fs/promises";
import { basename, extname, join } from "node:path";

const [sharpFolder, archive, out, widths, quality, cores] = process.argv.slice(2);
const sharp = createRequire(import.meta.url)(sharpFolder);
sharp.concurrency(1);
sharp.cache(false);
const began = performance.now();
mkdirSync(out, { recursive: true });
const file = await open(archive);
const { size: end } = await file.stat();
const members = [];
const header = Buffer.alloc(512);
for (let at = 0; at + 512 <= end; ) {
  await file.read(header, 0, 512, at);
  if (header[0] === 0) break;
  const name = header.toString("latin1", 0, 100).replace(/\0.*$/s, "");
  const size = parseInt(header.toString("latin1", 124, 136), 8);
  members.push({ name, at: at + 512, size });
  at += 512 + Math.ceil(size / 512) * 512;
}
let next = 0;
let bytes = 0;
async function work() {
  while (next < members.length) {
    const { name, at, size } = members[next++];
    const data = Buffer.allocUnsafe(size);
    await file.read(data, 0, size, at);
    const all = widths.split(",").map(Number);
    // One decode for several sizes; for a single one sharp shrinks while it decodes.
    const source = sharp(data);
    for (const width of all) {
      const of = all.length > 1 ? source.clone() : source;
      const made = await of.resize({ width }).jpeg({ quality: +quality }).toBuffer();
      await writeFile(join(out, `${basename(name, extname(name))}.${width}.jpg`), made);
      bytes += made.length;
    }
  }
}
// libuv has as many threads as UV_THREADPOOL_SIZE says; twice as many pictures keep them busy.
await Promise.all(Array.from({ length: 2 * +cores }, work));
await file.close();
console.log(JSON.stringify({ seconds: (performance.now() - began) / 1000, made: members.length * widths.split(",").length, bytes }));
