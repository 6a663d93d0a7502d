"""How the command line is called, as --help shows it around the options."""

from __future__ import annotations

USAGE = """onnxzip [options] IN OUT
       onnxzip [options] MODEL.onnx                writes MODEL.small.onnx
       onnxzip [options] [-j N] DIR|IN... OUTDIR   every model, one line each
       onnxzip -l FILE [--json]
       onnxzip -t [options] FILE [--against ORIGINAL] [--json]
       onnxzip -d [options] FILE OUT
       onnxzip --bench [options] FILE [--json]
       onnxzip --guide [TOPIC]
`-` in the place of a file is standard input or output."""
EPILOG = """examples:
  onnxzip model.onnx small.onnx          loses at most 0.1 relative error
  onnxzip -c images.npz --tolerance 0.05 model.onnx small.onnx
  onnxzip -c images.npy --labels classes.npy --metric top1 --tolerance 0.01 \\
      model.onnx small.onnx              loses at most a point of accuracy
  onnxzip -f -9 --keep 'head.*' --report .html model.onnx small.onnx
  onnxzip -t small.onnx --against model.onnx
  onnxzip -d small.onnx plain.onnx       plain weights again
  onnxzip -j2 models/ small/             a folder, as it is laid out
  onnxzip --dry-run model.onnx           how long, and how large; writes nothing
  fetch | onnxzip - - > small.onnx       from a pipe to a pipe
  eval "$(onnxzip --completion bash)"    completes options in this shell

exit status: 0 done, 1 bad input, 2 usage, 3 no smaller file meets the tolerance
(of several models that of the worst: 2, then 1, then 3)
OUT is written as a whole or left untouched."""
