from unreel.cli import main

main()
