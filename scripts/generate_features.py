"""The same as `biosae features`, for those who like a script."""

from biosae.cli.features import main

if __name__ == "__main__":
    main()
