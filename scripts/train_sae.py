"""The same as `biosae train`, for those who like a script."""

from biosae.cli.train import main

if __name__ == "__main__":
    main()
