"""What to do about faults of a listing, in the words of the command that was called."""

from dataclasses import dataclass

#: What stands for a value that a name doesn't state.
UNSAID = "n/a"
#: What stands for any value: maps are read whatever they state.
ANY = "any"


@dataclass(frozen=True)
class Advice:
    """The last part of a reader's messages; by default in the words of training's settings.

    Parameters
    ----------
    root : str
        Where the folder isn't there.
    channels, contrasts : str
        Where a choice of contrasts is missing, or names one that doesn't occur.
    stat, space, task, desc : str
        Where maps of several kinds are found, or none of the kind asked for.
    naming : str
        Where no map is named the BIDS way.
    runs, sessions : str
        Where runs of several tasks or sessions are found, or none of those asked for.
    raw : str
        Where a sidecar in the raw data set may help.
    entity : str
        Where files differ in an entity that has no setting of its own; with places for the
        entity's ``name`` and a ``value``.
    """

    root: str = "correct cohort.root"
    channels: str = "say which become channels: cohort.contrasts=[...]"
    contrasts: str = "choose among the contrasts that are there (cohort.contrasts)"
    stat: str = "choose one with cohort.stat"
    space: str = "say which to read: cohort.space=NAME"
    task: str = "choose among them (cohort.task)"
    desc: str = "choose one with cohort.desc='NAME'"
    naming: str = "rename the maps the BIDS way, or list them in a table and use cohort=table"
    runs: str = "say which task to read: cohort.task=NAME"
    sessions: str = "say which to read: cohort.sessions=[NAME,...]"
    raw: str = "name the raw data set whose sidecars state it: cohort.raw=FOLDER"
    entity: str = "choose with 'cohort.entities={{{name}: {value}}}'"

    def choose(self, entity: str, value: str) -> str:
        """Say how maps are chosen by an entity of their names."""
        own = {"stat": self.stat, "space": self.space, "task": self.task, "desc": self.desc}
        return own.get(entity) or self.entity.format(name=entity, value=value or UNSAID)

    def choose_any(self, entity: str) -> str:
        """Say how maps are read whatever their names say of an entity."""
        return self.entity.format(name=entity, value=ANY)


#: For the readers of cohorts.
SETTINGS = Advice()
