from handoff.command import main
from handoff.weights.cli import command

if __name__ == "__main__":
    main(command)
