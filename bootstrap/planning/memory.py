"""The memory of one worker at its fullest. Left out: Python and torch themselves, teachers, and references."""

from bootstrap.compute import MAX_LOGITS, MUON_COPIES, MUON_PORTION
from bootstrap.config.recipe import Recipe
from bootstrap.planning.lengths import Lengths
from bootstrap.planning.shapes import PlannedModel
from bootstrap.prompts.task import own_level


def memory_bytes(recipe: Recipe, model: PlannedModel, lengths: Lengths) -> int:
    """Return bytes while a worker trains or decodes `batch_rows` sequences of the longest kind.

    | what | numbers |
    |---|---|
    | trained parameters | weights, gradients, optimizer state (Muon: one moment, AdamW: two) |
    | backward pass | a token and layer: 16 of the hidden size, 3 of the intermediate size; the logits twice |
    | Muon's step, after that | copies of a portion of the matrices (`MUON_PORTION`) |
    | decoding | keys and values |

    Where a large vocabulary makes too many logits (`MAX_LOGITS`), fewer sequences are trained at once.
    """
    shape, intermediate_size = model.shape, model.config["intermediate_size"]
    highest = own_level(lengths.task, recipe.highest_level())
    answer = round(lengths.answer(highest))
    length = recipe.task.longest_sequence(highest)
    if model.encoder is not None:
        length = max(lengths.prompts(highest)) + answer
    rows, vocabulary = recipe.resources.batch_rows, model.config["vocab_size"]
    device = "cuda" if recipe.resources.gpus_per_worker else "cpu"
    trained_rows = min(rows, max(MAX_LOGITS[device] // vocabulary // answer, 1))
    steps = (*recipe.base.steps, *(step for _, step in recipe.generation_steps()))
    optimizers = [step.trained_by for step in steps if step.trained_by is not None]
    moments = max((optimizer.moments for optimizer in optimizers), default=1)
    per_token = shape.num_layers * (16 * shape.hidden_size + 3 * intermediate_size)
    activations = trained_rows * (length * per_token + 2 * answer * vocabulary)
    cache = rows * length * 2 * shape.num_layers * shape.hidden_size
    trained = 0 if recipe.training.adapter is not None else shape.num_parameters
    copies = 0
    if trained and any(optimizer.copies_matrices for optimizer in optimizers):
        # The two matrices into the SwiGLU layer are the largest group of one shape.
        matrix = shape.hidden_size * intermediate_size
        copies = MUON_COPIES * min(2 * shape.num_layers * matrix, max(MUON_PORTION, matrix))
    numbers = shape.num_parameters + trained * (1 + moments) + max(activations, cache, copies)
    return round(numbers * shape.bytes_per_parameter)
