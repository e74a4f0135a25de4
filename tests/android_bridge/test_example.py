"""The example app's classes compile against the library's, Android's and Chaquopy's; Gradle itself is not run here."""

from building import ANDROID, BRIDGE, MAVEN_DEPENDENCY, run

CHAQUOPY = "com.chaquo.python.runtime:chaquopy_java:16.1.0"  # the newest on Maven Central's mirrors; the same classes
COPY = f"{MAVEN_DEPENDENCY}:copy"


def test_it_compiles(maven, compiled_classes, tmp_path):
    class_path = ANDROID / "target" / "class-path.txt"
    maven(ANDROID, f"{MAVEN_DEPENDENCY}:build-classpath", f"-Dmdep.outputFile={class_path}")
    maven(ANDROID, COPY, f"-Dartifact={CHAQUOPY}", f"-DoutputDirectory={ANDROID / 'target'}")
    (chaquopy,) = (ANDROID / "target").glob("chaquopy_java-*.jar")
    sources = sorted((BRIDGE / "example").rglob("*.java"))
    places = ":".join(map(str, [compiled_classes, chaquopy, class_path.read_text().strip()]))
    options = ["-Xlint:all,-options,-classfile,-deprecation", "-source", "8", "-target", "8"]
    run(["javac", *options, "-cp", places, "-d", tmp_path, *sources])
    compiled = {path.stem for path in tmp_path.rglob("*.class")}
    assert {"ExampleApplication", "MainActivity"} <= {source.stem for source in sources} <= compiled
