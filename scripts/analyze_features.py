"""The same as `biosae analyze`, for those who like a script."""

from biosae.cli.analyze import main

if __name__ == "__main__":
    main()
