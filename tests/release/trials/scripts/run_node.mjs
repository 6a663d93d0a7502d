// onnxruntime-node or onnxruntime-web (wasm) in node; writes what kit.py describes.
//     node run_node.mjs MODEL FEEDS RESULT MODULE
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { answer } from "../../../web/answers.mjs";

const [model, feeds, result, folder] = process.argv.slice(2);
const ort = createRequire(import.meta.url)(folder);
const isWeb = path.basename(folder) === "onnxruntime-web";
ort.env.logLevel = "fatal";
if (isWeb) ort.env.wasm.numThreads = 1;

try {
  const options = { executionProviders: [isWeb ? "wasm" : "cpu"], graphOptimizationLevel: "all" };
  const answers = await answer(ort, model, JSON.parse(fs.readFileSync(feeds)), options);
  const { version } = JSON.parse(fs.readFileSync(path.join(folder, "package.json")));
  fs.writeFileSync(result, JSON.stringify({ version, ...answers }));
} catch (error) {
  const finding = String(error?.message ?? error).replace(/\s+/g, " ");
  fs.writeFileSync(result, JSON.stringify({ finding }));
}
