// The protocol's own TypeScript client against the built server: over standard input and output, then over HTTP.
// Its client checks each result against the schema the server gave for it.
import assert from "node:assert/strict";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { ToolListChangedNotificationSchema } from "@modelcontextprotocol/sdk/types.js";

const [server, url] = process.argv.slice(2);

async function investigate(name, transport) {
  const client = new Client({ name: "wirescope-conformance", version: "1" });
  let changed = 0;
  client.setNotificationHandler(ToolListChangedNotificationSchema, () => { changed += 1; });
  await client.connect(transport);
  const { tools } = await client.listTools();
  const names = tools.map((tool) => tool.name);
  assert(names.includes("proxy_list_traffic"), `${name}: ${names}`);
  for (const tool of tools) {
    assert(tool.title && tool.description && tool.outputSchema && tool.annotations, `${name}: ${tool.name}`);
  }
  const status = await client.callTool({ name: "proxy_status", arguments: {} });
  assert.equal(status.structuredContent.status, "success");
  assert.deepEqual(JSON.parse(status.content[0].text), status.structuredContent);
  const listed = await client.callTool({ name: "proxy_list_traffic", arguments: { limit: 5 } });
  assert.equal(listed.structuredContent.total, 0);
  const refused = await client.callTool({ name: "proxy_list_traffic", arguments: { limt: 5 } });
  assert.equal(refused.isError, true);
  assert.equal(refused.structuredContent.hint, "did you mean limit?");
  const enabled = await client.callTool({ name: "enable_toolset", arguments: { toolset: "sessions" } });
  assert(enabled.structuredContent.added.length > 0);
  const more = await client.listTools();
  assert(more.tools.length > tools.length, `${name}: ${more.tools.length} tools after ${tools.length}`);
  const { resources } = await client.listResources();
  for (const resource of resources) {
    const { contents } = await client.readResource({ uri: resource.uri });
    assert(contents[0].text.length > 0, `${name}: ${resource.uri}`);
  }
  assert.equal((await client.listResourceTemplates()).resourceTemplates.length, 3);
  const { prompts } = await client.listPrompts();
  assert.equal(prompts.length, 3);
  const prompt = await client.getPrompt({ name: "map-this-api", arguments: { host: "api.example.com" } });
  assert(prompt.messages[0].content.text.includes("api.example.com"));
  const completed = await client.complete({
    ref: { type: "ref/prompt", name: "map-this-api" },
    argument: { name: "host", value: "a" },
  });
  assert.deepEqual(completed.completion.values, []);
  assert(changed > 0, `${name}: not told of new tools`);
  await client.close();
  console.log(`ok: the TypeScript client over ${name}: ${tools.length} tools, then ${more.tools.length}`);
}

// What would wait, or cannot be called without more.
const ARGUMENTS = { capture_traffic: { duration: 0.05 }, wait_for_exchange: { timeout_ms: 1 } };

// Calls every tool that only reads and needs no argument: the client checks each result against its schema.
async function read(transport) {
  const client = new Client({ name: "wirescope-conformance", version: "1" });
  await client.connect(transport);
  const { tools } = await client.listTools();
  const plain = tools.filter((tool) => tool.annotations.readOnlyHint && !tool.inputSchema.required?.length);
  for (const { name } of plain) {
    const { structuredContent, isError } = await client.callTool({ name, arguments: ARGUMENTS[name] ?? {} });
    assert(structuredContent.status !== undefined, `${name}: ${JSON.stringify(structuredContent)}`);
    assert(!isError || structuredContent.hint, `${name}: ${JSON.stringify(structuredContent)}`);
  }
  await client.close();
  assert(plain.length > 20, `only ${plain.length} tools`);
  console.log(`ok: the TypeScript client calls ${plain.length} tools that only read`);
}

const state = mkdtempSync(join(tmpdir(), "wirescope-conformance-"));
await investigate("stdio", new StdioClientTransport({ command: server, args: ["--state-dir", state], cwd: state }));
await investigate("http", new StreamableHTTPClientTransport(new URL(url)));
const everything = ["--toolsets", "all", "--state-dir", state];
await read(new StdioClientTransport({ command: server, args: everything, cwd: state }));
