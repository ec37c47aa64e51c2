"""The same as `biosae benchmark`, for those who like a script."""

from biosae.cli.benchmark import main

if __name__ == "__main__":
    main()
