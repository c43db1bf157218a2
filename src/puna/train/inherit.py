"""Beginning from another model's weights, whose pattern of layers may be another.

Training from nothing buys again what a smaller, older or denser model already knows. What carries over is carried as exactly as the new
shape allows; a few hundred steps mend the rest. All of this is [ours]; sparse upcycling as such is known [paper: arXiv:2212.05055].

Letters: T tokens, D model width, E experts, F expert width.
"""

from contextlib import ExitStack

import torch
from torch import Tensor, nn

from puna.model import Batch, Model
from puna.model.block import Block
from puna.model.experts import MoE
from puna.model.feed_forward import FeedForward

# What the twins of an expert differ by in the router, as a share of a row's size: which of them a token takes is left to chance.
_TWINS_APART = 0.02
_SAME = ("vocab_size", "width", "num_layers", "num_heads", "num_kv_heads", "head_width", "expert_width", "nope_layers", "vision")


class InheritError(ValueError):
    """Models between which nothing can be carried over. The message names what differs."""


@torch.no_grad()
def inherit(model: Model, given: Model, sample: Batch) -> None:
    """Put `given`'s weights into `model`, whose pattern of layers may be another; both can read `sample`.

    Experts beyond `given`'s are twins of its experts. A dense layer in an MoE layer's place gets the shared expert and the experts that
    most of the sample's tokens chose. Where `model` does not normalise queries and keys and `given` does, their projections are scaled to
    what the norm gave on average over the sample.
    """
    differing = [name for name in _SAME if getattr(model.config, name) != getattr(given.config, name)]
    if differing:
        name = differing[0]
        found, wanted = getattr(given.config, name), getattr(model.config, name)
        raise InheritError(f"{given.config.name} has {name}={found}, {model.config.name} {wanted}: its weights cannot be carried over")
    inputs = _normed_inputs(given, sample)
    own = model.state_dict()
    for name, tensor in given.state_dict().items():
        if not (name.startswith("text.") and ".feed_forward." in name):
            own[name].copy_(tensor)
    for layer, before, (to_attention_TD, to_feed_forward_TD) in zip(_blocks(model), _blocks(given), inputs, strict=True):
        if before.attention.layer.qk_norm and not layer.attention.layer.qk_norm:
            for projection in (layer.attention.wq, layer.attention.wk):
                heads_THD = projection(to_attention_TD).unflatten(-1, (-1, given.config.head_width))
                sizes_H = heads_THD.square().mean((0, 2)).sqrt()
                projection.weight /= sizes_H.repeat_interleave(given.config.head_width)[:, None]
        _carry_feed_forward(layer.feed_forward, before.feed_forward, to_feed_forward_TD)


def _blocks(model: Model) -> list[Block]:
    return [layer for layer in model.text.layers if isinstance(layer, Block)]


def _normed_inputs(model: Model, sample: Batch) -> list[tuple[Tensor, Tensor]]:
    """What each layer's attention and feed-forward read of the sample, `[T, D]` each."""
    found: list[list[Tensor]] = [[] for _ in _blocks(model)]
    with ExitStack() as stack:
        for place, layer in enumerate(_blocks(model)):
            for norm in (layer.attention_norm, layer.feed_forward_norm):
                handle = norm.register_forward_hook(lambda _, __, out, place=place: found[place].append(out))
                stack.callback(handle.remove)
        model(sample)
    return [(to_attention, to_feed_forward) for to_attention, to_feed_forward in found]


def _carry_feed_forward(layer: nn.Module, before: nn.Module, x_TD: Tensor) -> None:
    if isinstance(layer, MoE) and isinstance(before, MoE):
        _more_experts(layer, before)
    elif isinstance(layer, FeedForward) and isinstance(before, MoE):
        _dense(layer, before, x_TD)
    elif isinstance(layer, FeedForward) and isinstance(before, FeedForward):
        layer.load_state_dict(before.state_dict())
    else:
        raise InheritError("an MoE layer cannot begin from a dense one: its weights say nothing about experts")


def _more_experts(layer: MoE, before: MoE) -> None:
    """Expert e from expert e modulo the number that there were, and the shared one."""
    twin_E = torch.arange(len(layer.router.weight)) % len(before.router.weight)
    layer.shared.load_state_dict(before.shared.state_dict())
    layer.experts.w_gate_up.copy_(before.experts.w_gate_up[twin_E])
    layer.experts.w_down.copy_(before.experts.w_down[twin_E])
    rows_ED = before.router.weight[twin_E]
    if len(layer.router.weight) > len(before.router.weight):
        noise_ED = torch.randn(rows_ED.shape, generator=torch.Generator().manual_seed(0)).to(rows_ED)
        rows_ED = rows_ED + _TWINS_APART * rows_ED.norm(dim=1, keepdim=True) / rows_ED.shape[1] ** 0.5 * noise_ED
    layer.router.weight.copy_(rows_ED)


def _dense(layer: FeedForward, before: MoE, x_TD: Tensor) -> None:
    """The shared expert, then whole experts, the busiest first, as far as the width goes; what is left stays as it was.

    An expert reads x times its score, so its matrices are multiplied by the mean score of those who chose it.
    """
    routing = before.router.choose(x_TD)
    num_experts, width, _ = before.experts.w_down.shape
    load_E = torch.bincount(routing.expert_ids_T, minlength=num_experts)
    gates, ups, downs = [before.shared.w_gate.weight], [before.shared.w_up.weight], [before.shared.w_down.weight]
    for expert in load_E.argsort(descending=True).tolist()[: layer.w_gate.out_features // width - 1]:
        chose_T = routing.expert_ids_T == expert
        score = routing.scores_T[chose_T].mean() if chose_T.any() else 0.0
        gate_up_FD = before.experts.w_gate_up[expert].T * score
        gates.append(gate_up_FD[:width])
        ups.append(gate_up_FD[width:])
        downs.append(before.experts.w_down[expert].T)
    for weight, parts, dim in ((layer.w_gate.weight, gates, 0), (layer.w_up.weight, ups, 0), (layer.w_down.weight, downs, 1)):
        whole = torch.cat(parts, dim).narrow(dim, 0, min(weight.shape[dim], width * len(parts)))
        weight.narrow(dim, 0, whole.shape[dim]).copy_(whole)
