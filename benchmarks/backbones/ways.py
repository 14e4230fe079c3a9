"""Ways to run one backbone, with one set of random weights: references in PyTorch, and this program's graphs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import Dinov3MatchError
from engine.runtime import open_graph
from exporters.check_images import normalise
from exporters.export import export_backbone
from exporters.sources.builtin import load_builtin
from models.catalogue import Backbone, ConvNeXtArch, Ffn
from models.contract import INPUT_IMAGE, OUTPUT_GLOBAL_DESCRIPTOR, OUTPUT_PATCH_TOKENS
from models.random_checkpoint import write_random_checkpoint

EAGER = "PyTorch eager"
"""The reference that every ratio is taken to."""

Run = Callable[[NDArray[np.uint8]], Any]
Say = Callable[[str], object]


@dataclass(frozen=True, eq=False)
class Way:
    """One way.

    Attributes:
        run: takes images [B, H, W, 3] uint8 and returns their patch tokens [B, N, D] when they are there.
        is_ours: a runtime of this program.
        same_weights: whether its tokens can be compared with the reference's.
    """

    name: str
    run: Run
    is_ours: bool = False
    same_weights: bool = True


def ways(backbone: Backbone, folder: Path, threads: int, say: Say) -> list[Way]:
    """All ways of one backbone that run here, the reference first. A way that fails at its first image is left out.

    Args:
        folder: scratch folder for the checkpoint and graphs.
        say: told of what is left out, and why.
    """
    checkpoint = write_random_checkpoint(backbone, folder)
    side = 2 * backbone.stride
    trial = np.zeros((1, side, side, 3), np.uint8)
    found = []
    for way in [*_references(backbone, checkpoint), *_graphs(backbone, checkpoint, folder, threads, say)]:
        try:
            way.run(trial)
        except Exception as error:
            if way.name == EAGER:
                raise
            say(f"without {way.name}: {' '.join(str(error).split())[:200]}")
        else:
            found.append(way)
    return found


def _references(backbone: Backbone, checkpoint: Path) -> Iterator[Way]:
    """PyTorch eager, PyTorch compiled and transformers' own model, float32 on the CPU."""
    import torch

    model = load_builtin(backbone, checkpoint, unofficial=True).model

    def with_torch(network: Callable[..., Any], tokens: Callable[[Any], Any]) -> Run:
        def run(images: NDArray[np.uint8]) -> Any:
            with torch.inference_mode():
                return tokens(network(normalise(images, backbone.pretraining))).numpy()

        return run

    yield Way(EAGER, with_torch(model, lambda outputs: outputs[0]))
    yield Way("torch.compile", with_torch(torch.compile(model), lambda outputs: outputs[0]))
    theirs = _transformers_model(backbone)
    yield Way("transformers", with_torch(theirs, lambda outputs: outputs.last_hidden_state), same_weights=False)


def _transformers_model(backbone: Backbone) -> Any:
    """transformers' model of the same shape, with random weights of its own: speed does not depend on them."""
    import transformers

    arch = backbone.arch
    if isinstance(arch, ConvNeXtArch):
        config = transformers.DINOv3ConvNextConfig(depths=list(arch.depths), hidden_sizes=list(arch.dims))
        return transformers.DINOv3ConvNextModel(config).eval()
    gated = arch.ffn is Ffn.SWIGLU
    config = transformers.DINOv3ViTConfig(
        hidden_size=arch.dim,
        intermediate_size=arch.ffn_hidden,
        num_hidden_layers=arch.depth,
        num_attention_heads=arch.heads,
        use_gated_mlp=gated,
        hidden_act="silu" if gated else "gelu",
        num_register_tokens=arch.storage_tokens,
        query_bias=arch.qkv_bias,
        key_bias=False,
        value_bias=arch.qkv_bias,
    )
    return transformers.DINOv3ViTModel(config).eval()


def _graphs(backbone: Backbone, checkpoint: Path, folder: Path, threads: int, say: Say) -> Iterator[Way]:
    """The bare session, and this program's runtimes: fp32 and int8 on the CPU, OpenVINO, fp32 and bf16 on CUDA."""
    import onnxruntime

    from plugins.runtime_openvino import open_openvino

    def graph(precision: str) -> Path:
        return export_backbone(backbone, checkpoint, folder, precision, unofficial=True).graph_path

    fp32 = graph("fp32")
    yield Way("bare session.run fp32", _bare_session(fp32, threads))
    yield _ours("ONNX Runtime fp32", open_graph(fp32, "cpu", threads))
    yield _ours("ONNX Runtime int8", open_graph(graph("int8"), "cpu", threads))
    try:
        runtime = open_openvino(fp32, threads=threads)
        yield _ours(runtime.provider, runtime)
    except Dinov3MatchError as error:
        say(f"without OpenVINO: {error}")
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        yield _ours("ONNX Runtime CUDA fp32", open_graph(fp32, "cuda"))
        yield _ours("ONNX Runtime CUDA bf16", open_graph(graph("bf16"), "cuda"))


def _ours(name: str, runtime: Callable[..., tuple[Any, Any]]) -> Way:
    return Way(name, lambda images: runtime(images)[0], is_ours=True)


def _bare_session(graph: Path, threads: int) -> Run:
    """ONNX Runtime with nothing around it, and its own habits but for the number of threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session: Any = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    outputs = [OUTPUT_PATCH_TOKENS, OUTPUT_GLOBAL_DESCRIPTOR]
    return lambda images: session.run(outputs, {INPUT_IMAGE: images})[0]


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """PyTorch on so many threads while this lasts."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
