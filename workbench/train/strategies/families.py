"""How the layers of known kinds of models are laid out, for those who cut them.

A kind that is not here can be trained whole on each rank (``ddp``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.core.errors import SpecError, nearest_name


@dataclass(frozen=True)
class Family:
    """Where a kind of model has its layers, and which matrices of a layer go together.

    ``columns`` are the matrices whose outputs can be shared out (queries, keys, values, inner
    neurons), ``rows`` those that bring the shares together. Names are within a layer.
    """

    path: str  # of the list of layers, within the base model
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    has_stages: bool = False  # a stage without the embeddings, or without the head, can compute
    heads: str = "num_attention_heads"
    inner: str = "intermediate_size"

    def layers(self, base: Any) -> Sequence[Any]:
        """Return the layers of a base model, in order."""
        found: Sequence[Any] = base.get_submodule(self.path)
        return found

    def has_ways(self, config: Mapping[str, Any], ways: int) -> bool:
        """Whether each layer of a model can be cut into so many equal parts."""
        return int(config[self.heads]) % ways == 0 and int(config[self.inner]) % ways == 0

    def check_stages(self, config: Mapping[str, Any]) -> None:
        """See that models of this kind can be cut into stages.

        Raises:
            SpecError: what stands before and behind their layers cannot be taken away from them.
        """
        if not self.has_stages:
            raise SpecError(
                f"Models of the kind {config.get('model_type')!r} cannot be cut into stages",
                where="strategy",
                next_step="Use the strategy fsdp or tensor.",
            )

    def check_ways(self, config: Mapping[str, Any], ways: int) -> None:
        """See that each layer of a model can be cut into so many equal parts.

        Raises:
            SpecError: its heads or inner neurons cannot be shared out evenly.
        """
        if not self.has_ways(config, ways):
            heads = config[self.heads]
            raise SpecError(
                f"{heads} attention heads and {config[self.inner]} inner neurons cannot be cut "
                f"into {ways} equal parts",
                where="strategy",
                next_step=f"Give a number that divides {heads}, or use the strategy fsdp.",
            )


_BERT = Family(
    path="encoder.layer",
    columns=(
        "attention.self.query", "attention.self.key", "attention.self.value", "intermediate.dense",
    ),
    rows=("attention.output.dense", "output.dense"),
    has_stages=True,
)  # fmt: skip
_DISTILBERT = Family(
    path="transformer.layer",
    columns=("attention.q_lin", "attention.k_lin", "attention.v_lin", "ffn.lin1"),
    rows=("attention.out_lin", "ffn.lin2"),
    heads="n_heads",
    inner="hidden_dim",
)
_LLAMA = Family(
    path="layers",
    columns=("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.gate_proj",
             "mlp.up_proj"),
    rows=("self_attn.o_proj", "mlp.down_proj"),
    heads="num_key_value_heads",
)  # fmt: skip

FAMILIES = {
    "bert": _BERT, "roberta": _BERT, "xlm-roberta": _BERT, "camembert": _BERT, "electra": _BERT,
    "distilbert": _DISTILBERT, "llama": _LLAMA, "mistral": _LLAMA, "qwen2": _LLAMA,
}  # fmt: skip


def is_known(config: Mapping[str, Any]) -> bool:
    """Whether models of a configuration can be cut into parts at all."""
    return config.get("model_type") in FAMILIES


def family_of(config: Mapping[str, Any]) -> Family:
    """Return how models of a configuration are laid out.

    Raises:
        SpecError: their kind is not known here.
    """
    kind = str(config.get("model_type"))
    if kind not in FAMILIES:
        raise SpecError(
            f"Models of the kind {kind!r} cannot be cut into parts",
            where="strategy",
            next_step=f"Use the strategy ddp. {nearest_name(kind, FAMILIES)}",
        )
    return FAMILIES[kind]
