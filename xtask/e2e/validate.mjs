// Validates HAR files against the HAR 1.2 schema. Arguments: the files.
import { readFile } from "node:fs/promises";
import validate from "har-validator";

for (const file of process.argv.slice(2)) {
  const har = JSON.parse(await readFile(file, "utf8"));
  try {
    await validate.har(har);
  } catch (error) {
    console.error(`${file} is not valid HAR 1.2:`);
    for (const problem of error.errors ?? [error]) {
      console.error(`  ${problem.dataPath ?? ""} ${problem.message}`);
    }
    process.exit(1);
  }
  console.log(`${file}: ${har.log.entries.length} entries, valid`);
}
