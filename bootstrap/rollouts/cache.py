"""A key-value cache that is written in place; transformers' own copies the whole cache for every token.

Left out: other kinds of layers (sliding windows, recurrent states), which keep transformers' cache.
"""

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedConfig
from transformers.cache_utils import DynamicLayer


def key_value_cache(config: PreTrainedConfig, *, max_length: int) -> DynamicCache:
    """Return an empty cache for sequences of up to `max_length` tokens."""
    cache = DynamicCache(config=config)
    cache.layers = [ReservedLayer(max_length) if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


class ReservedLayer(DynamicLayer):
    """One layer's keys and values (B, H, T, D): views of memory reserved for all tokens at the first one.

    Under autocast the rotated keys have a wider dtype than the values. Both are kept in attention's dtype: the wider on
    a CPU, where attention runs in float32, the narrower elsewhere.
    """

    def __init__(self, max_length: int) -> None:
        super().__init__()
        self.max_length = max_length

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Append the states (B, H, new, D) and return all keys and values."""
        start, new = self.get_seq_length(), key_states.shape[-2]
        assert start + new <= self.max_length, "the cache has room for the prompt and its longest completion"
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.dtype = _kept_in(key_states, value_states)
            shape = (*key_states.shape[:-2], self.max_length, key_states.shape[-1])
            self._keys = key_states.new_empty(shape, dtype=self.dtype)
            self._values = value_states.new_empty((*shape[:-1], value_states.shape[-1]), dtype=self.dtype)
        self._keys[:, :, start : start + new] = key_states
        self._values[:, :, start : start + new] = value_states
        return self._show(start + new)

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep these rows, in this order; a row may repeat."""
        length = self.get_seq_length()
        for name in ("_keys", "_values"):
            room = getattr(self, name)
            taken = room.new_empty((len(indices), *room.shape[1:]))
            taken[:, :, :length] = room[:, :, :length][indices]
            setattr(self, name, taken)
        self._show(length)

    def _show(self, length: int) -> tuple[Tensor, Tensor]:
        keys, values = self._keys[:, :, :length], self._values[:, :, :length]
        self.keys, self.values = keys, values
        return keys, values


def _kept_in(keys: Tensor, values: Tensor) -> torch.dtype:
    narrow, wide = sorted((keys.dtype, values.dtype), key=lambda dtype: dtype.itemsize)
    return wide if keys.device.type == "cpu" else narrow
