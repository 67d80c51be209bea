"""Several classifiers as one ONNX graph that answers with the mean of their probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from workbench.models.onnx_file import read_onnx


def write_mean(graphs: Sequence[Path], target: Path) -> None:
    """Write one graph of many with the same inputs; its ``logits`` are logarithms of the mean.

    So the probabilities of the result are the mean of those of the members.
    """
    import onnx
    from onnx import compose, helper

    members = [
        compose.add_prefix(
            onnx.load_from_string(read_onnx(path)), f"member{number}_",
            rename_inputs=False, rename_functions=True,
        )
        for number, path in enumerate(graphs)
    ]  # fmt: skip
    first = members[0]
    nodes = [node for member in members for node in member.graph.node]
    probabilities = []
    for member in members:
        logits = member.graph.output[0].name
        probabilities.append(f"{logits}_probabilities")
        nodes.append(helper.make_node("Softmax", [logits], probabilities[-1:], axis=-1))
    nodes.append(helper.make_node("Mean", probabilities, ["mean_probabilities"]))
    nodes.append(helper.make_node("Log", ["mean_probabilities"], ["logits"]))
    output = helper.make_tensor_value_info(
        "logits", onnx.TensorProto.FLOAT, ["batch", "num_labels"]
    )
    graph = helper.make_graph(
        nodes, "mean", list(first.graph.input), [output],
        initializer=[tensor for member in members for tensor in member.graph.initializer],
    )  # fmt: skip
    functions = [function for member in members for function in member.functions]
    model = helper.make_model(
        graph, opset_imports=list(first.opset_import), functions=functions,
        ir_version=first.ir_version,
    )  # fmt: skip
    onnx.checker.check_model(model)
    target.write_bytes(model.SerializeToString(deterministic=True))
