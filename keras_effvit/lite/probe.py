"""Looks into a `.tflite` file, in a process of its own: run by `child`, never imported by the package.

The runtime and the schema believe their files; a damaged one can crash them or take all memory. So this process reads
requests from its standard input, a line of JSON and the file's bytes, and writes a line of JSON for each. It imports
neither Keras nor TensorFlow and starts in a fraction of a second.
"""

import json
import os
import sys

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

OPERATORS = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
TYPES = {code: name for name, code in vars(schema.TensorType).items() if isinstance(code, int)}
CUSTOM = schema.BuiltinOperator.CUSTOM
#: No model of ours takes as much to open and run once.
MEMORY_BYTES = 16 * 2**30


def main() -> None:
    """Answers requests until the input ends."""
    limit_memory()
    requests = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the runtime prints must not come between the answers
    while line := requests.readline():
        request = json.loads(line)
        content = requests.read(request["bytes"])
        try:
            answer = look(content, threads=request["threads"], invoke=request["invoke"])
        except Exception as error:  # whatever is wrong with the file
            answer = {"error": f"{type(error).__name__}: {error}"[:500]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def limit_memory() -> None:
    """Keeps a file that claims all memory from getting it, where the system knows limits."""
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def look(content: bytes, *, threads: int, invoke: bool) -> dict:
    """What the runtime makes of a file, and what the file says of itself.

    Args:
        content: the file.
        threads: of XNNPACK.
        invoke: whether to run it once, on zeros.
    """
    # The runtime verifies the buffer; only then the schema's reader, which does not, may follow its offsets.
    delegated = Interpreter(model_content=content, num_threads=threads)
    delegated.allocate_tensors()
    nodes = delegated._get_ops_details()
    if invoke:
        for details in delegated.get_input_details():
            delegated.set_tensor(details["index"], np.zeros(details["shape"], details["dtype"]))
        delegated.invoke()
    plain = Interpreter(
        model_content=content, experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    )
    plain.allocate_tensors()
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    graph = model.subgraphs[0]
    inside = inside_partitions(nodes)
    partition_of = {node["index"]: inside.get(node["index"]) for node in nodes}
    return {
        "version": model.version,
        "subgraphs": len(model.subgraphs),
        "operators": [
            {**operator(model, entry), "partition": partition_of.get(index)}
            for index, entry in enumerate(graph.operators)
        ],
        "tensors": tensors(model, graph, plain),
        "partitions": sum(node["op_name"] == "DELEGATE" for node in nodes),
        "inputs": [int(index) for index in graph.inputs],
        "outputs": [int(index) for index in graph.outputs],
        "signatures": [signature(entry) for entry in model.signatureDefs or []],
        "metadata": {text(entry.name): entry.buffer for entry in model.metadata or []},
    }


def inside_partitions(nodes: list[dict]) -> dict[int, int]:
    """The partition of every operator that a delegate runs: those between its outputs and its inputs."""
    producers = {int(tensor): node for node in nodes if node["op_name"] != "DELEGATE" for tensor in node["outputs"]}
    partitions: dict[int, int] = {}
    delegates = [node for node in nodes if node["op_name"] == "DELEGATE"]
    for number, delegate in enumerate(delegates):
        seen = {int(tensor) for tensor in delegate["inputs"]}
        todo = [int(tensor) for tensor in delegate["outputs"]]
        while todo:
            tensor = todo.pop()
            if tensor in seen:
                continue
            seen.add(tensor)
            if tensor in producers:
                partitions.setdefault(producers[tensor]["index"], number)
                todo += [int(index) for index in producers[tensor]["inputs"] if index >= 0]
    return partitions


def operator(model, entry) -> dict:
    """An operator's name, whether it is a custom one, and its tensors."""
    code = model.operatorCodes[entry.opcodeIndex]
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    custom = text(code.customCode) if number == CUSTOM else None
    return {
        "name": custom or OPERATORS.get(number, str(number)),
        "custom": custom is not None,
        "version": code.version,
        "inputs": [int(index) for index in entry.inputs if index >= 0],
        "outputs": [int(index) for index in entry.outputs],
    }


def tensors(model, graph, plain: Interpreter) -> list[dict]:
    """Names, shapes, types, quantisation and sizes; the shapes are those the runtime allocates."""
    shapes = {details["index"]: details["shape"].tolist() for details in plain.get_tensor_details()}
    found = []
    for index, tensor in enumerate(graph.tensors):
        data = model.buffers[tensor.buffer].data
        quantization = tensor.quantization
        scales = [] if quantization is None or quantization.scale is None else quantization.scale
        zeros = [] if quantization is None or quantization.zeroPoint is None else quantization.zeroPoint
        found.append(
            {
                "name": text(tensor.name),
                "shape": shapes.get(index, [] if tensor.shape is None else tensor.shape.tolist()),
                "dynamic": tensor.shapeSignature is not None and bool(np.any(np.array(tensor.shapeSignature) < 0)),
                "type": TYPES.get(tensor.type, str(tensor.type)),
                "bytes": 0 if data is None else len(data),
                "scales": len(scales),
                "scale": float(scales[0]) if len(scales) == 1 else None,
                "zero_point": int(zeros[0]) if len(zeros) == 1 else None,
            }
        )
    return found


def signature(entry) -> dict:
    """A signature's key and the names of its tensors."""
    return {
        "key": text(entry.signatureKey),
        "inputs": {text(item.name): item.tensorIndex for item in entry.inputs or []},
        "outputs": {text(item.name): item.tensorIndex for item in entry.outputs or []},
    }


def text(value) -> str:
    """What the schema's reader gives as bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")


if __name__ == "__main__":
    main()
