from .parser import command_parser as command_parser
from .program import main as main

__all__ = ["command_parser", "main"]
