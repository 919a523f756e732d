"""`bootstrap export`."""

from bootstrap.cli.commands import options


def export(
    generation: options.Generation,
    folder: options.NewModel,
    store: options.Store = options.DEFAULT_STORE,
    lineage: options.Lineage = None,
) -> None:
    """Copy a generation's model into a folder.

    transformers opens the folder without this program. Every file is checked against its recorded hash.

    \b
    Examples:
      bootstrap export champion my-model
      python -c "from transformers import AutoModelForCausalLM as M; M.from_pretrained('my-model')"
    """
    from bootstrap.cli.export import export_generation
    from bootstrap.cli.stores import choose

    name, count = export_generation(choose(store, lineage), generation, folder)
    print(f"{name}: {count} verified files in {folder}")
