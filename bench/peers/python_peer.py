"""NumPy or PyTorch as a peer of the benchmark: answers the requests of protocol.ts.

usage: python3 python_peer.py numpy | torch [tf32]
"""

import json
import math
import os
import sys
import time

import numpy as np

MARK = "@peer "
SAMPLES = 16


def values(seed, shape):
    """The same values in [-0.5, 0.5) that protocol.ts makes."""
    index = np.arange(math.prod(shape), dtype=np.uint32)
    h = (index + np.uint32(seed * 0x9E3779B9 % 2**32)) * np.uint32(2654435761)
    h = (h ^ h >> np.uint32(15)) * np.uint32(2246822519)
    h ^= h >> np.uint32(13)
    return (h / 2**32 - 0.5).astype(np.float32).reshape(shape)


def digest(data):
    """A result in a few numbers, as in protocol.ts."""
    flat = np.asarray(data, dtype=np.float64).ravel()
    n = flat.size
    at = [(i * n // SAMPLES + 7 * i) % n for i in range(SAMPLES)]
    return [float(np.sqrt(np.mean(flat * flat)))] + [float(flat[i]) for i in at]


def blas():
    """The linear algebra library that this process has loaded."""
    try:
        with open("/proc/self/maps", encoding="utf-8") as maps:
            loaded = maps.read()
    except OSError:
        return "unknown BLAS"
    known = {"openblas": "OpenBLAS", "mkl": "MKL", "blis": "BLIS", "libblas": "reference BLAS"}
    return next((name for key, name in known.items() if key in loaded), "unknown BLAS")


class NumPy:
    """The ops on arrays."""

    def __init__(self):
        np.ones((64, 64), np.float32) @ np.ones((64, 64), np.float32)
        self.name = f"NumPy {np.__version__} ({blas()})"

    def settle(self):
        """Nothing runs behind the caller's back."""

    def prepare(self, work):
        """A function of no arguments, or None where NumPy lacks the op."""
        x = [values(i + 1, shape) for i, shape in enumerate(work["shapes"])]
        kind = work["kind"]
        if kind == "matmul":
            return lambda: x[0] @ x[1]
        if kind == "softmax":
            return lambda: self.softmax(x[0])
        if kind == "layerNorm":
            return lambda: self.layer_norm(*x)
        if kind == "elementwise":
            return lambda: x[0] * x[0] + x[0]
        if kind == "attention":
            scale = np.float32(1 / math.sqrt(x[0].shape[-1]))
            return lambda: self.softmax(x[0] @ x[1].swapaxes(-1, -2) * scale) @ x[2]
        return None

    def model(self, _work):
        """There are no models in NumPy."""
        return None

    @staticmethod
    def softmax(x):
        e = np.exp(x - x.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)

    @staticmethod
    def layer_norm(x, weight, bias):
        centred = x - x.mean(-1, keepdims=True)
        variance = np.mean(centred * centred, -1, keepdims=True)
        return centred / np.sqrt(variance + np.float32(1e-5)) * weight + bias

    @staticmethod
    def to_numpy(result):
        return result


class Torch:
    """The ops and models in PyTorch, on the GPU where there is one."""

    def __init__(self, tf32):
        import torch

        self.torch = torch
        self.cuda = torch.cuda.is_available()
        if tf32 and not self.cuda:
            raise RuntimeError("TF32 needs a GPU")
        torch.backends.cuda.matmul.allow_tf32 = tf32
        torch.backends.cudnn.allow_tf32 = tf32
        torch.backends.cudnn.benchmark = True
        torch.set_num_threads(os.cpu_count() or 1)
        self.device = "cuda" if self.cuda else "cpu"
        where = torch.cuda.get_device_name() if self.cuda else f"{torch.get_num_threads()} threads"
        self.name = f"PyTorch {torch.__version__} ({where}{', TF32' if tf32 else ''})"

    def settle(self):
        if self.cuda:
            self.torch.cuda.synchronize()

    def tensor(self, seed, shape):
        return self.torch.from_numpy(values(seed, shape)).to(self.device)

    def attention(self):
        """The fused one, or its definition where PyTorch is older than that."""
        f = self.torch.nn.functional
        fused = getattr(f, "scaled_dot_product_attention", None)
        if fused:
            return fused

        def plain(q, k, v):
            scores = q @ k.transpose(-2, -1) * (1 / math.sqrt(q.shape[-1]))
            return scores.softmax(-1) @ v

        return plain

    def prepare(self, work):
        """A function of no arguments."""
        f = self.torch.nn.functional
        x = [self.tensor(i + 1, shape) for i, shape in enumerate(work["shapes"])]
        attention = self.attention()
        conv = {key: work[key] for key in ("stride", "padding", "groups")}
        run = {
            "matmul": lambda: x[0] @ x[1],
            "conv2d": lambda: f.conv2d(x[0], x[1], **conv),
            "attention": lambda: attention(*x),
            "softmax": lambda: x[0].softmax(-1),
            "layerNorm": lambda: f.layer_norm(x[0], x[0].shape[-1:], x[1], x[2], 1e-5),
            "elementwise": lambda: x[0] * x[0] + x[0],
        }[work["kind"]]
        return self.without_gradients(run)

    def without_gradients(self, run):
        def quiet():
            with self.torch.no_grad():
                return run()

        return quiet

    def model(self, work):
        """A part of SAM-2 on the weights in a file, see sam2_torch.py."""
        import sam2_torch

        flat = self.torch.from_numpy(np.fromfile(work["weights"], dtype=np.float32))
        weights, at = {}, 0
        for entry in work["keys"]:
            size = math.prod(entry["shape"])
            weights[entry["key"]] = flat[at : at + size].reshape(entry["shape"]).to(self.device)
            at += size
        inputs = [self.tensor(i + 1, shape) for i, shape in enumerate(work["shapes"])]
        part = sam2_torch.PARTS[work["part"]](weights, work["config"], self.attention())
        if work["pass"] == "forward":
            return self.without_gradients(lambda: part(*inputs))
        for weight in weights.values():
            weight.requires_grad_()
        return lambda: self.gradients(part, inputs, list(weights.values()))

    def gradients(self, part, inputs, weights):
        """All gradients of the sum of the outputs' mean squares, one after the other."""
        outputs = part(*inputs)
        loss = sum(output.square().mean() for output in outputs)
        found = self.torch.autograd.grad(loss, weights)
        return [gradient.reshape(-1) for gradient in found]

    def to_numpy(self, result):
        parts = result if isinstance(result, (list, tuple)) else [result]
        return np.concatenate([part.detach().cpu().numpy().ravel() for part in parts])


def answer(library, state, request):
    """The reply to one request."""
    if request["do"] == "time":
        return timed(library, state["run"], request["runs"])
    prepare = library.prepare if request["do"] == "prepare" else library.model
    state["run"] = prepare(request["work"])
    if state["run"] is None:
        return {"unsupported": f"{library.name} lacks it"}
    result = state["run"]()
    library.settle()
    return {"digest": digest(library.to_numpy(result))}


def timed(library, run, runs):
    start, cpu = time.perf_counter(), time.process_time()
    for _ in range(runs):
        run()
    library.settle()
    wall, used = time.perf_counter() - start, time.process_time() - cpu
    return {"ms": wall * 1000 / runs, "cpuMs": used * 1000 / runs}


def say(reply):
    print(MARK + json.dumps(reply), flush=True)


def main():
    """Answers requests on standard input until it ends."""
    try:
        library = NumPy() if sys.argv[1] == "numpy" else Torch("tf32" in sys.argv[2:])
    except (ImportError, RuntimeError) as error:
        say({"absent": str(error)})
        return
    say({"ready": library.name})
    state = {}
    for line in sys.stdin:
        try:
            say(answer(library, state, json.loads(line)))
        except Exception as error:  # The benchmark goes on without this piece of work.
            say({"unsupported": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    main()
