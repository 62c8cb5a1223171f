"""The classifier, a small bidirectional LSTM, and how it is saved and loaded."""

import io
from contextlib import redirect_stdout

import torch
from huggingface_hub import PyTorchModelHubMixin
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from checkpoint import WEIGHTS, find_checkpoint, read_tokenizer, read_weights
from errors import InputError, replacing_files

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class EmotionLSTM(nn.Module, PyTorchModelHubMixin):
    """Embedding → LSTM → pooling → dropout → linear.

    Args:
        classes: names of the classes, in the order of the logits.
        vocabulary_size: number of token ids.
        embedding_size: width of a word's vector.
        hidden_size: width of one direction of one LSTM layer.
        layers: number of LSTM layers.
        directions: 2 to read the text from both ends, 1 to read it forwards only.
        pooling: "last" keeps the last hidden state of each direction of the top layer; "max"
            the maximum over time; "last+max" joins the two.
        dropout: rate between LSTM layers and before the linear layer.
        embedding_dropout: rate on the word vectors.
        word_dropout: share of words shown as unknown in training (Iyyer et al. 2015, "Deep
            Unordered Composition Rivals Syntactic Methods for Text Classification").
        padding_id, unknown_id: the tokenizer's ids of `[PAD]` and `[UNK]`.
        data: where the model comes from: data set, rows and fingerprint of every split.
    """

    def __init__(
        self,
        classes: list,
        vocabulary_size: int,
        embedding_size: int = 256,
        hidden_size: int = 64,
        layers: int = 3,
        directions: int = 2,
        pooling: str = "last+max",
        dropout: float = 0.3,
        embedding_dropout: float = 0.3,
        word_dropout: float = 0.1,
        padding_id: int = 0,
        unknown_id: int = 1,
        data: dict | None = None,
    ):
        super().__init__()
        self.classes = classes
        self.data = data
        self.directions = directions
        self.pooling = pooling
        self.word_dropout = word_dropout
        self.unknown_id = unknown_id
        self.embedding = nn.Embedding(vocabulary_size, embedding_size, padding_idx=padding_id)
        self.embedding_dropout = nn.Dropout(embedding_dropout)
        self.lstm = nn.LSTM(
            embedding_size,
            hidden_size,
            num_layers=layers,
            bidirectional=directions == 2,
            batch_first=True,
            dropout=dropout if layers > 1 else 0.0,
        )
        self.dropout = nn.Dropout(dropout)
        pooled_size = directions * hidden_size * len(pooling.split("+"))
        self.linear = nn.Linear(pooled_size, len(classes))
        # What the logits are divided by, so that their softmax is calibrated; 1 until it is fitted.
        self.register_buffer("temperature", torch.ones(()))

    def forward(self, tokens, lengths=None):
        """Return logits.

        Args:
            tokens: (batch, length) int64, padded at the end.
            lengths: (batch,) int64 on the CPU, the texts' true lengths, each at least 1; None if
                no text is padded, which is faster since nothing has to be packed.

        Returns:
            (batch, classes) logits over the temperature, the same for a text whatever it is
            batched with.
        """
        if self.training and self.word_dropout:
            dropped = torch.rand(tokens.shape, device=tokens.device) < self.word_dropout
            tokens = tokens.masked_fill(dropped, self.unknown_id)
        vectors = self.embedding_dropout(self.embedding(tokens))
        if lengths is not None and self.training and not vectors.is_cuda:
            # On the CPU, to learn from a packed batch takes four times as long: it goes through
            # the LSTM in parts, one of each length. (Nearly all batches have two.)
            parts = [(lengths == length).nonzero()[:, 0] for length in lengths.unique()]
            pooled = [self._pool(vectors[part, : lengths[part[0]]]) for part in parts]
            pooled = torch.cat(pooled)[torch.cat(parts).argsort()]
        else:
            pooled = self._pool(vectors, lengths)
        return self.linear(self.dropout(pooled)) / self.temperature

    def _pool(self, vectors, lengths=None):
        """Return (batch, pooled size), all that is left of (batch, length, width) word vectors."""
        if lengths is None:
            states, (last, _) = self.lstm(vectors)
        else:
            # Packing starts the backward direction at a text's last word and not in its padding.
            packed = pack_padded_sequence(vectors, lengths, batch_first=True, enforce_sorted=False)
            states, (last, _) = self.lstm(packed)
            states, _ = pad_packed_sequence(states, batch_first=True, padding_value=-torch.inf)
        pooled = []
        if "last" in self.pooling:
            pooled += last[-self.directions :]  # those of the top layer
        if "max" in self.pooling:
            pooled.append(states.amax(dim=1))
        return torch.cat(pooled, dim=1)

    @classmethod
    def _load_as_safetensor(cls, model, model_file, map_location, strict):
        """How the mixin reads weights: here, whatever number format they are kept in."""
        weights = read_weights(model_file).items()
        model.load_state_dict({name: torch.from_numpy(array) for name, array in weights}, strict)
        return model.to(map_location).eval()

    def _save_pretrained(self, save_directory):
        """How the mixin writes weights: on a GPU, an LSTM's are views of one buffer."""
        weights = {name: weight.cpu() for name, weight in self.state_dict().items()}
        save_file(weights, save_directory / WEIGHTS, {"format": "pt"})

    @property
    def parameter_count(self):
        """Number of trainable weights."""
        return sum(p.numel() for p in self.parameters())


MODEL_CARD = """\
---
language: en
license: other
library_name: pytorch
pipeline_tag: text-classification
tags: [emotion, lstm, pytorch_model_hub_mixin, model_hub_mixin]
datasets: [{data}]
---
# {name}

{kind} of {parameters:,} weights that tells {classes} apart in short English texts.

- Architecture: embedding {embedding_size}, {layers} layer(s) of hidden size {hidden_size}{each}, \
pooling {pooling}, {vocabulary_size:,} words.
- Trained on `{data}`: {rows}{taught}.
- {made}

## Use

```python
from classifier import load_classifier

classify = load_classifier("{name}")  # a folder or a Hub id
labels, probabilities = classify(["i can't stop smiling"])
```

`tokenizer.json` brings raw text to the form the model knows: lower case, no punctuation, emoji, \
links or names.

## Intended use and limits

For research and teaching, as the authors of dair-ai/emotion ask of those who use their data \
(Saravia et al., CARER, EMNLP 2018). Its labels came from hashtags, not from readers, and are not \
always right. The model puts every text, a neutral one too, into one of its classes; irony, other \
languages and long texts are beyond it; it has not been checked for fairness between groups of \
people. It is no basis for decisions about a person.
"""


def model_card(model, name, made):
    """Text of a checkpoint's README.md.

    Args:
        model: EmotionLSTM.
        name: folder or Hub id that it will be loaded by.
        made: sentence that says what it was made by and how good it is.
    """
    data = model.data or {"name": "unknown data", "splits": {}}
    taught = ""
    if data.get("teachers"):
        taught = f"; distilled from {', '.join(data['teachers'])}"
    if data.get("unlabelled"):
        taught += f", also on {data['unlabelled']:,} texts without labels"
    return MODEL_CARD.format(
        name=name,
        data=data["name"],
        rows=", ".join(f"{split['rows']:,} rows {key}" for key, split in data["splits"].items()),
        taught=taught,
        kind="A bidirectional LSTM" if model.directions == 2 else "An LSTM",
        each=" in each direction" if model.directions == 2 else "",
        parameters=model.parameter_count,
        classes=", ".join(model.classes),
        vocabulary_size=model.embedding.num_embeddings,
        embedding_size=model.embedding.embedding_dim,
        hidden_size=model.lstm.hidden_size,
        layers=model.lstm.num_layers,
        pooling=model.pooling,
        made=made,
    )


def save_checkpoint(folder, model, tokenizer, model_card):
    """Write a checkpoint in the Hub's layout, each file atomically.

    Args:
        folder: created if need be.
        model: EmotionLSTM.
        tokenizer: tokenizers.Tokenizer that made the model's token ids.
        model_card: text of README.md.
    """
    with replacing_files(folder) as temporary:
        (temporary / "README.md").write_text(model_card, encoding="utf-8")
        tokenizer.save(str(temporary / "tokenizer.json"), pretty=False)
        model.save_pretrained(temporary)


def load_checkpoint(checkpoint):
    """Load a model and its tokenizer.

    Args:
        checkpoint: a folder, or the id of a model on the Hub.

    Returns:
        (EmotionLSTM in evaluation mode on the CPU, tokenizers.Tokenizer).

    Raises:
        InputError: the folder or id does not exist or cannot be reached, a file is missing,
            broken, or of another architecture.
    """
    folder = find_checkpoint(checkpoint)
    try:
        with redirect_stdout(io.StringIO()):  # the mixin prints
            model = EmotionLSTM.from_pretrained(folder, strict=True)
    except Exception as error:  # depending on what is broken, of any type
        reason = " ".join(str(error).splitlines()[:2])  # one wrong size makes all others wrong
        raise InputError(
            f"{folder}: config.json and model.safetensors do not make a model: {reason}"
        ) from None
    return model, read_tokenizer(folder, model.embedding.num_embeddings)
