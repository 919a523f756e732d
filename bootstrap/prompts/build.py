"""From a task's settings to the task; those that need files or a package of their own are imported when named."""

from bootstrap.config import tasks
from bootstrap.prompts.addition import Addition
from bootstrap.prompts.functions import Functions
from bootstrap.prompts.mixture import Mixture
from bootstrap.prompts.programs import ProgramTask
from bootstrap.prompts.strings import Strings
from bootstrap.prompts.task import ProceduralTask, Task
from bootstrap.prompts.working import ShownWorking


def build_task(settings: tasks.Task) -> Task:
    """Return the task that the settings describe. Raises RecipeError when a level would have an empty split."""
    match settings:
        case tasks.AdditionTask():
            return ProceduralTask(settings, family=Addition())
        case tasks.MixtureTask():
            return Mixture(settings, parts={name: build_task(part.task) for name, part in settings.parts.items()})
        case tasks.WorkingTask():
            return ShownWorking(settings)
        case tasks.ReversalTask():
            return ProceduralTask(settings, family=Strings(alphabet=settings.alphabet, backwards=True))
        case tasks.CopyTask():
            return ProceduralTask(settings, family=Strings(alphabet=settings.alphabet, backwards=False))
        case tasks.FunctionsTask():
            return ProceduralTask(settings, family=Functions(settings))
        case tasks.ProgramsTask():
            return ProgramTask(settings)
        case tasks.FileTask():
            from bootstrap.prompts.files import Rows

            return Rows(settings)
        case tasks.ReasoningGymTask():
            from bootstrap.prompts.gym import Gym

            return Gym(settings)
