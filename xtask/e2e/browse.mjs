// Opens a page through the proxy in a real Chromium and waits until its script says that all of it arrived.
// Arguments: the browser, its home directory (whose certificate store trusts the CA), the proxy, the URL.
import { chromium } from "playwright-core";

const [executablePath, home, proxy, url] = process.argv.slice(2);

const context = await chromium.launchPersistentContext(`${home}/profile`, {
  executablePath,
  // Loopback hosts are not proxied unless told to be.
  proxy: { server: proxy, bypass: "<-loopback>" },
  env: { ...process.env, HOME: home },
  args: ["--no-sandbox", "--disable-background-networking", "--disable-component-update"],
});
try {
  const page = context.pages()[0] ?? (await context.newPage());
  const failures = [];
  page.on("requestfailed", (request) => failures.push(`${request.url()}: ${request.failure()?.errorText}`));
  await page.goto(url);
  await page
    .waitForFunction(() => document.title !== "loading", undefined, { timeout: 30_000 })
    .catch((error) => failures.push(String(error)));
  const title = await page.title();
  if (title !== "done") {
    throw new Error(`the page ended as "${title}"; failed requests: ${failures.join(", ") || "none"}`);
  }
} finally {
  await context.close();
}
