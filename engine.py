"""The LSTM in ONNX Runtime, which is faster than PyTorch on a CPU and starts in a blink.

It runs every checkpoint: from the `model.onnx` that compress.py wrote into it, or else from the
same graph, built from `model.safetensors` on the spot. Imports no PyTorch.
"""

import numpy as np
import onnxruntime

from checkpoint import (
    ONNX,
    WEIGHTS,
    find_checkpoint,
    quantise,
    read_config,
    read_tokenizer,
    read_weights,
)
from errors import InputError

OPSET, IR_VERSION = 18, 9  # old enough for ONNX Runtime 1.16
GATES = [0, 3, 1, 2]  # PyTorch has the gates in the order i f g o, ONNX in i o f g


class OnnxModel:
    """A model in ONNX Runtime, called as `EmotionLSTM` is, with arrays in place of tensors.

    Args:
        model: path of an ONNX file, or its bytes.
        classes: names of the classes.
        threads: CPU threads, None for one a core.
    """

    def __init__(self, model, classes, threads=None):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"]
        )
        metadata = self.session.get_modelmeta().custom_metadata_map
        self.vocabulary_size = int(metadata["vocabulary_size"])
        self.parameter_count = int(metadata["parameters"])
        self.temperature = float(metadata["temperature"])
        self.precision = metadata["precision"]
        self.classes = classes
        outputs = self.session.get_outputs()[0].shape[1]
        if outputs != len(classes):
            raise ValueError(f"{outputs} classes, config.json has {len(classes)}")

    def __call__(self, tokens, lengths=None):
        """Return logits, (batch, classes) float32, the same for a text whatever its batch.

        Args:
            tokens: (batch, length) int64, padded at the end.
            lengths: (batch,) the texts' true lengths, each at least 1; None if none is padded.
        """
        tokens = np.asarray(tokens)
        if lengths is None:
            lengths = np.full(len(tokens), tokens.shape[1])
        feed = {"tokens": tokens, "lengths": np.asarray(lengths, dtype=np.int32)}
        return self.session.run(None, feed)[0]


def load_onnx(checkpoint, threads=None):
    """Load a checkpoint into ONNX Runtime.

    Args:
        checkpoint: a folder, or the id of a model on the Hub.
        threads: CPU threads, None for one a core.

    Returns:
        (OnnxModel, tokenizers.Tokenizer).

    Raises:
        InputError: no such checkpoint, or one of its files is missing, broken, or of another model.
    """
    folder = find_checkpoint(checkpoint, wanted=(ONNX, WEIGHTS))
    config = read_config(folder)
    path = folder / ONNX
    try:
        if path.exists():
            source = str(path)
        else:
            path = folder / WEIGHTS
            source = to_onnx(config, read_weights(path)).SerializeToString()
        model = OnnxModel(source, config["classes"], threads)
    except Exception as error:  # of ONNX Runtime, safetensors or ours, whatever is broken
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path} makes no model with config.json: {reason}") from None
    return model, read_tokenizer(folder, model.vocabulary_size)


def to_onnx(config, weights, int8=False):
    """Build the graph of `EmotionLSTM.forward`, for batches and texts of any length.

    By hand and not by torch.onnx: the LSTM operator takes the texts' lengths, which keeps padding
    out of the backward direction, and no tracer finds that out from packed sequences.

    Args:
        config: dict, the checkpoint's config.json.
        weights: {name: float32 array}, see `checkpoint.read_weights`.
        int8: whether to store the matrices as int8. ONNX Runtime multiplies them out when it
            loads the graph, except for the word vectors, which it does as they are looked up: the
            file is small, and the arithmetic that of fp32.

    Returns:
        onnx.ModelProto with the inputs `tokens` (batch, length) int64 and `lengths` (batch,)
        int32, and the output `logits` (batch, classes) float32.
    """
    from onnx import TensorProto, helper, numpy_helper  # which a ready model.onnx does not need

    nodes, constants = [], {}

    def add(operator, inputs, output, **attributes):
        outputs = output if isinstance(output, list) else [output]
        nodes.append(helper.make_node(operator, inputs, outputs, **attributes))
        return output

    def constant(name, value):
        constants[name] = np.asarray(value)
        return name

    def matrix(name, value):
        """`value`, directly or as int8 times its scale, of (directions, rows, columns)."""
        if not int8:
            return constant(name, value)
        parts = [quantise(part) for part in value]
        stored = constant(f"{name}_int8", np.stack([part for part, _ in parts]))
        scale = constant(f"{name}_scale", np.stack([scale for _, scale in parts]))
        return add(
            "Mul", [add("Cast", [stored], f"{name}_cast", to=TensorProto.FLOAT), scale], name
        )

    table = weights["embedding.weight"]
    steps = add("Transpose", ["tokens"], "steps", perm=[1, 0])  # time first, as the LSTM wants it
    if int8:
        table, scale = quantise(table, axis=0)
        rows = add("Gather", [constant("embedding", table), steps], "rows")
        rows = add("Cast", [rows], "rows_cast", to=TensorProto.FLOAT)
        states = add("Mul", [rows, constant("embedding_scale", scale)], "vectors")
    else:
        states = add("Gather", [constant("embedding", table), steps], "vectors")

    hidden_size = config["hidden_size"]
    suffixes = ["", "_reverse"][: config.get("directions", 2)]
    for layer in range(config["layers"]):

        def gates(kind, layer=layer):
            """(directions, 4 · hidden, …), the gates in the order of ONNX."""
            arrays = [weights[f"lstm.{kind}_l{layer}{suffix}"] for suffix in suffixes]
            parts = [array.reshape(4, hidden_size, -1)[GATES] for array in arrays]
            return np.stack([part.reshape(4 * hidden_size, -1) for part in parts])

        if layer:  # (length, directions, batch, hidden) → (length, batch, directions · hidden)
            states = add("Transpose", [states], f"swapped{layer}", perm=[0, 2, 1, 3])
            shape = constant("joined", np.array([0, 0, -1]))
            states = add("Reshape", [states, shape], f"joined{layer}")
        bias = np.concatenate([gates("bias_ih"), gates("bias_hh")], axis=1)[..., 0]
        inputs = [
            states,
            matrix(f"input{layer}", gates("weight_ih")),
            matrix(f"recurrence{layer}", gates("weight_hh")),
            constant(f"bias{layer}", bias),
            "lengths",
        ]
        states, last = add(
            "LSTM",
            inputs,
            [f"states{layer}", f"last{layer}"],
            hidden_size=hidden_size,
            direction="bidirectional" if len(suffixes) == 2 else "forward",
        )

    pooled = [last] if "last" in config["pooling"] else []
    if "max" in config["pooling"]:
        # Padded steps are zero, which may be more than a text's own states.
        size = add("Shape", ["tokens"], "length", start=1, end=2)
        size = add("Squeeze", [size], "length_number")
        bounds = [constant("zero", 0), size, constant("one", 1)]
        step = add(
            "Unsqueeze", [add("Range", bounds, "step"), constant("last_axis", [1])], "column"
        )
        limits = add("Cast", ["lengths"], "limits", to=TensorProto.INT64)
        inside = add("Less", [step, limits], "inside")
        mask = add("Unsqueeze", [inside, constant("state_axes", [1, 3])], "mask")
        lowest = constant("lowest", np.float32(-np.inf))
        masked = add("Where", [mask, states, lowest], "masked")
        first_axis = constant("first_axis", [0])
        pooled.append(add("ReduceMax", [masked, first_axis], "largest", keepdims=0))
    joined = add("Concat", pooled, "pooled", axis=0) if len(pooled) > 1 else pooled[0]
    joined = add("Transpose", [joined], "pooled_by_text", perm=[1, 0, 2])
    joined = add("Reshape", [joined, constant("flat", [0, -1])], "features")
    temperature = weights["temperature"]
    output = matrix("output", weights["linear.weight"][None] / temperature)
    if int8:
        output = add("Squeeze", [output, constant("batch_axis", [0])], "output_matrix")
    else:
        constants[output] = constants[output][0]
    bias = constant("output_bias", weights["linear.bias"] / temperature)
    add("Gemm", [joined, output, bias], "logits", transB=1)

    graph = helper.make_graph(
        nodes,
        "EmotionLSTM",
        [
            helper.make_tensor_value_info("tokens", TensorProto.INT64, ["batch", "length"]),
            helper.make_tensor_value_info("lengths", TensorProto.INT32, ["batch"]),
        ],
        [
            helper.make_tensor_value_info(
                "logits", TensorProto.FLOAT, ["batch", len(config["classes"])]
            )
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )
    parameters = sum(array.size for name, array in weights.items() if name != "temperature")
    metadata = {
        "vocabulary_size": len(table),
        "parameters": parameters,
        "temperature": float(temperature),
        "precision": "int8" if int8 else "fp32",
    }
    helper.set_model_props(model, {key: str(value) for key, value in metadata.items()})
    return model
