"""The same as `biosae compare`, for those who like a script."""

from biosae.cli.compare import main

if __name__ == "__main__":
    main()
