"""The same as `biosae steer`, for those who like a script."""

from biosae.cli.steer import main

if __name__ == "__main__":
    main()
