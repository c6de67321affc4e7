"""Print the installed versions as requirements, without what `tools/setup.sh` treats apart or leaves out."""

from importlib.metadata import distributions

# torch has its own source; the others do not fit the CPU build of torch and no text model needs them.
LEFT_OUT = {"torch", "torchvision", "torchaudio", "torchcodec", "zofinetune", "pip"}


def main() -> None:
    found = {d.metadata["Name"].lower().replace("_", "-"): d.version for d in distributions()}
    print("# Written by `make lock`; installed as it stands by tools/setup.sh.")
    for name in sorted(found.keys() - LEFT_OUT):
        print(f"{name}=={found[name]}")


if __name__ == "__main__":
    main()
