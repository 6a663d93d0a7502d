// Answers on the model that the address names, and posts what was measured to /result.
//     page.html?model=ADDRESS&feeds=ADDRESS&provider=wasm|webgpu
import { answer } from "./answers.mjs";

const BUILDS = { wasm: "/ort/ort.wasm.min.mjs", webgpu: "/ort/ort.webgpu.min.mjs" };

// The runtime makes its memory itself; it grows and never shrinks, so that its size is its peak.
const memories = [];
const Plain = WebAssembly.Memory;
WebAssembly.Memory = class Memory extends Plain {
  constructor(descriptor) {
    super(descriptor);
    memories.push(this);
  }
};

let heapBytes = 0;
function lookAtHeap() {
  heapBytes = Math.max(heapBytes, performance.memory?.usedJSHeapSize ?? 0);
}

async function measure(asked) {
  const provider = asked.get("provider");
  if (provider === "webgpu" && !(await navigator.gpu?.requestAdapter())) {
    return { skipped: "the browser offers no WebGPU adapter" };
  }
  const ort = await import(BUILDS[provider]);
  ort.env.wasm.wasmPaths = "/ort/";
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = "fatal";
  const feeds = await (await fetch(asked.get("feeds"))).json();
  const started = performance.now();
  const model = new Uint8Array(await (await fetch(asked.get("model"))).arrayBuffer());
  const fetch_ms = performance.now() - started;
  lookAtHeap();
  const options = { executionProviders: [provider], graphOptimizationLevel: "all" };
  const answers = await answer(ort, model, feeds, options, lookAtHeap);
  const wasmBytes = memories.reduce((sum, memory) => sum + memory.buffer.byteLength, 0);
  const sizes = { heap_mb: heapBytes / 1e6, wasm_mb: wasmBytes / 1e6, n_bytes: model.length };
  return { version: ort.env.versions.web, fetch_ms, ...sizes, ...answers };
}

let result;
try {
  result = await measure(new URLSearchParams(location.search));
} catch (error) {
  result = { finding: String(error?.message ?? error) };
}
await fetch("/result", { method: "POST", body: JSON.stringify(result) });
