"""Attention candidates of one block on the CPU, in one run: `python benchmarks/export/attention.py [ALIAS]`.

Each candidate computes rotary embedding and attention from the same projected queries, keys and values. The outputs are
compared with the first one's, then all are timed in turns, on one thread and by the processor time they take: what
else runs on the machine hardly counts.
"""

import argparse
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import onnxruntime
from onnx import NodeProto, TensorProto, helper

from models.catalogue import ViTArch, backbone

_ROUNDS = 40
_MICROSOFT = "com.microsoft"


def _fused_microsoft(arch: ViTArch) -> list[NodeProto]:
    """`com.microsoft` RotaryEmbedding and MultiHeadAttention: what exported graphs hold."""
    nodes = [
        helper.make_node("RotaryEmbedding", [part, "position", "cos", "sin"], [f"{part}.turned"], domain=_MICROSOFT)
        for part in ("query", "key")
    ]
    attention = ["query.turned", "key.turned", "value"]
    return [*nodes, helper.make_node("MultiHeadAttention", attention, ["out"], domain=_MICROSOFT, num_heads=arch.heads)]


def _standard(arch: ViTArch) -> list[NodeProto]:
    """RotaryEmbedding and Attention of ONNX opset 23."""
    heads = arch.heads
    nodes = [
        helper.make_node("RotaryEmbedding", [part, "cos.batch", "sin.batch"], [f"{part}.turned"], num_heads=heads)
        for part in ("query", "key")
    ]
    attention = helper.make_node(
        "Attention", ["query.turned", "key.turned", "value"], ["out"], q_num_heads=heads, kv_num_heads=heads
    )
    return [*nodes, attention]


def _plain(arch: ViTArch) -> list[NodeProto]:
    """Matrix products and Softmax, and the rotation written out."""
    nodes = []
    for part in ("query", "key", "value"):
        nodes.append(helper.make_node("Reshape", [part, "heads"], [f"{part}.split"]))
        nodes.append(helper.make_node("Transpose", [f"{part}.split"], [f"{part}.heads"], perm=[0, 2, 1, 3]))
    for part in ("query", "key"):
        halves = [f"{part}.low", f"{part}.high"]
        nodes.append(helper.make_node("Split", [f"{part}.heads"], halves, axis=3, num_outputs=2))
        for name, first, second, operator in (("a", "cos", "sin", "Sub"), ("b", "sin", "cos", "Add")):
            nodes.append(helper.make_node("Mul", [halves[0], first], [f"{part}.{name}0"]))
            nodes.append(helper.make_node("Mul", [halves[1], second], [f"{part}.{name}1"]))
            nodes.append(helper.make_node(operator, [f"{part}.{name}0", f"{part}.{name}1"], [f"{part}.{name}"]))
        nodes.append(helper.make_node("Concat", [f"{part}.a", f"{part}.b"], [f"{part}.turned"], axis=3))
    nodes.append(helper.make_node("Transpose", ["key.turned"], ["key.columns"], perm=[0, 1, 3, 2]))
    nodes.append(helper.make_node("MatMul", ["query.turned", "key.columns"], ["scores"]))
    nodes.append(helper.make_node("Mul", ["scores", "scale"], ["scaled"]))
    nodes.append(helper.make_node("Softmax", ["scaled"], ["weights"], axis=3))
    nodes.append(helper.make_node("MatMul", ["weights", "value.heads"], ["mixed.heads"]))
    nodes.append(helper.make_node("Transpose", ["mixed.heads"], ["mixed"], perm=[0, 2, 1, 3]))
    nodes.append(helper.make_node("Reshape", ["mixed", "joined"], ["out"]))
    return nodes


CANDIDATES: dict[str, Callable[[ViTArch], list[NodeProto]]] = {
    "com.microsoft MultiHeadAttention": _fused_microsoft,
    "ONNX Attention, opset 23": _standard,
    "MatMul and Softmax": _plain,
}


def session(arch: ViTArch, nodes: list[NodeProto], tokens: int) -> onnxruntime.InferenceSession:
    """A graph of the candidate's nodes; angles are those of random positions."""
    angles = np.random.default_rng(1).uniform(-3, 3, (tokens, arch.head_dim // 2)).astype(np.float32)
    values = {
        "cos": np.cos(angles),
        "sin": np.sin(angles),
        "cos.batch": np.cos(angles)[None],
        "sin.batch": np.sin(angles)[None],
        "position": np.zeros(1, np.int64),
        "heads": np.array([0, 0, arch.heads, arch.head_dim]),
        "joined": np.array([0, 0, arch.dim]),
        "scale": np.float32(arch.head_dim**-0.5),
    }
    used = {name for node in nodes for name in node.input}
    weights = [
        helper.make_tensor(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape, array.ravel().tolist())
        for name, array in values.items()
        if name in used
    ]
    shape = [1, tokens, arch.dim]
    inputs = [helper.make_tensor_value_info(part, TensorProto.FLOAT, shape) for part in ("query", "key", "value")]
    output = helper.make_tensor_value_info("out", TensorProto.FLOAT, shape)
    graph = helper.make_graph(nodes, "attention", inputs, [output], weights)
    opsets = [helper.make_opsetid("", 23), helper.make_opsetid(_MICROSOFT, 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=11)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def compare(alias: str, side_px: int) -> dict[str, tuple[float, float]]:
    """Least processor time (ms) of each candidate, and its largest difference from the first."""
    arch = backbone(alias).arch
    if not isinstance(arch, ViTArch):
        raise SystemExit(f"{alias} has no attention")
    tokens = (side_px // arch.patch_size) ** 2 + arch.prefix_tokens
    random = np.random.default_rng(0)
    feeds = {part: random.normal(size=(1, tokens, arch.dim)).astype(np.float32) for part in ("query", "key", "value")}
    sessions = {name: session(arch, make(arch), tokens) for name, make in CANDIDATES.items()}
    outputs = {name: each.run(None, feeds)[0] for name, each in sessions.items()}
    first = next(iter(outputs.values()))
    seconds: dict[str, list[float]] = {name: [] for name in sessions}
    for _ in range(_ROUNDS):
        for name, each in sessions.items():
            start = time.process_time()
            each.run(None, feeds)
            seconds[name].append(time.process_time() - start)
    return {name: (1000 * min(seconds[name]), float(np.abs(outputs[name] - first).max())) for name in sessions}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("aliases", nargs="*", default=["vits16", "vitl16", "vit7b16"], metavar="ALIAS")
    options = parser.parse_args()
    print(f"ONNX Runtime {onnxruntime.__version__}, {platform.machine()}, one thread; least of {_ROUNDS} runs")
    names = list(CANDIDATES)
    others = " | ".join(f"{name}: times that" for name in names[1:])
    print(f"| backbone | side (px) | {names[0]} (ms a block) | {others} | largest difference |")
    print("| --- | ---: |" + " ---: |" * (len(names) + 1))
    for alias in options.aliases:
        for side_px in (224, 336, 672):
            found = compare(alias, side_px)
            first = found[names[0]][0]
            ratios = " | ".join(f"{found[name][0] / first:.2f}" for name in names[1:])
            difference = max(value for _, value in found.values())
            print(f"| {alias} | {side_px} | {first:.1f} | {ratios} | {difference:.1g} |", flush=True)


if __name__ == "__main__":
    main()
