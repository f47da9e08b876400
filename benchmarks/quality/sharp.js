// Encodes by sharp, on one thread. Reads a JSON job from stdin, `{"sharp": folder of the module,
// "tasks": [{reference, method, options, rounds, path, shrink?}]}`, and writes a JSON line for each:
// bytes and the milliseconds of CPU of the fastest round. With `shrink` the reference is a photo,
// which is turned and scaled to fit a square of that side. The last line tells the versions.
const fs = require('fs');

const job = JSON.parse(fs.readFileSync(0, 'utf8'));
const sharp = require(job.sharp);
sharp.concurrency(1);
sharp.cache(false);

const pixels = { path: null };

async function open(task) {
  if (task.shrink) {
    return () =>
      sharp(task.reference)
        .autoOrient()
        .resize(task.shrink, task.shrink, { fit: 'inside' });
  }
  if (pixels.path !== task.reference) {
    const raw = await sharp(task.reference).removeAlpha().raw().toBuffer({ resolveWithObject: true });
    Object.assign(pixels, { path: task.reference, ...raw });
  }
  const { width, height, channels } = pixels.info;
  return () => sharp(pixels.data, { raw: { width, height, channels } });
}

async function main() {
  for (const task of job.tasks) {
    const picture = await open(task);
    let best = Infinity;
    let encoded;
    for (let round = 0; round < task.rounds; round++) {
      const started = process.cpuUsage();
      encoded = await picture()[task.method](task.options).toBuffer();
      const used = process.cpuUsage(started);
      best = Math.min(best, (used.user + used.system) / 1000);
    }
    fs.writeFileSync(task.path, encoded);
    console.log(JSON.stringify({ bytes: encoded.length, ms: best }));
  }
  console.log(JSON.stringify(sharp.versions));
}

main();
