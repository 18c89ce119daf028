// Replays a HAR with Playwright's routeFromHAR, the network being gone, and compares what the browser gets.
// Arguments: the browser, the HAR file.
import { readFile } from "node:fs/promises";
import { chromium } from "playwright-core";

const [executablePath, file] = process.argv.slice(2);
const { log } = JSON.parse(await readFile(file, "utf8"));

// What a page can be made of: text that came whole. Downloads and event streams are no pages.
const isPage = ({ request, response }) =>
  request.method === "GET" &&
  response.status === 200 &&
  /^(text\/(html|plain)|application\/json)/.test(response.content.mimeType) &&
  typeof response.content.text === "string";

const text = ({ text, encoding }) => (encoding === "base64" ? Buffer.from(text, "base64").toString("utf8") : text);

const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
let replayed = 0;
try {
  const context = await browser.newContext();
  await context.routeFromHAR(file, { notFound: "abort" });
  const page = await context.newPage();
  const seen = new Set();
  for (const entry of log.entries.filter(isPage)) {
    if (seen.has(entry.request.url)) continue;
    seen.add(entry.request.url);
    const response = await page.goto(entry.request.url, { waitUntil: "commit" });
    if (response.status() !== entry.response.status) {
      throw new Error(`${entry.request.url}: replayed as ${response.status()}, recorded as ${entry.response.status}`);
    }
    const [got, recorded] = [await response.text(), text(entry.response.content)];
    if (got !== recorded) {
      throw new Error(`${entry.request.url}: replayed ${got.length} characters, recorded ${recorded.length}`);
    }
    replayed += 1;
  }
} finally {
  await browser.close();
}
if (replayed === 0) {
  console.error(`${file} holds nothing that could be replayed`);
  process.exit(1);
}
console.log(`${file}: ${replayed} pages replayed`);
