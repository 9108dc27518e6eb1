"""All rows, in the order in which they are run."""

from bench.engine.measure import Row
from bench.engine.rows.life import command_line, execute, life
from bench.engine.rows.many import many
from bench.engine.rows.output import output
from bench.engine.rows.requests import idle, rates, responsive
from bench.engine.rows.transfer import load, prepare_archive, prepare_registry, pull, push

ROWS: dict[str, Row] = {
    "idle": Row(idle, 10),
    "life": Row(life, 120, has_floor=True),
    "cli": Row(command_line, 60, has_floor=True),
    "exec": Row(execute, 60, has_floor=True),
    "rates": Row(rates, 60),
    "load": Row(load, 120, has_floor=True, prepare=prepare_archive),
    "pull": Row(pull, 120, has_floor=True, prepare=prepare_registry),
    "push": Row(push, 180, has_floor=True, prepare=prepare_registry),
    "responsive": Row(responsive, 90, prepare=prepare_registry, in_turn=False),
    "output": Row(output, 240, has_floor=True),
    "many": Row(many, 600, has_floor=True, in_turn=False),
}
