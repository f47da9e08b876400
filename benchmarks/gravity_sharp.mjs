// Where sharp crops: reads [{file, width, height}] from standard input and writes, for each of its
// two strategies, the left and top of every crop. SHARP names the folder that sharp is installed in.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const sharp = createRequire(`${process.env.SHARP}/package.json`)("sharp");
sharp.concurrency(1);

const asked = JSON.parse(readFileSync(0, "utf8"));
const answer = { version: sharp.versions.sharp, attention: [], entropy: [] };
for (const strategy of ["attention", "entropy"]) {
  for (const { file, width, height } of asked) {
    const { info } = await sharp(file)
      .resize(width, height, { fit: "cover", position: sharp.strategy[strategy] })
      .toBuffer({ resolveWithObject: true });
    answer[strategy].push([Math.abs(info.cropOffsetLeft), Math.abs(info.cropOffsetTop)]);
  }
}
console.log(JSON.stringify(answer));
