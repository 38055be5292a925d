#include <unistd.h>

#include <cstring>

// OpenMP threads that wait for each other spin for milliseconds before they sleep: GCC's libgomp turns 300,000 times.
// On a machine that also does other work a spinning thread holds the very core the other one needs: a picture that
// takes a second on idle cores took 200 s beside two busy processes, 30 s with 1,000 turns, and on idle cores 1,000
// turns cost nothing that could be measured (docs/performance.md).
//
// libgomp reads the number from the environment when it is loaded, before main() and before any constructor of this
// program. Only what stands in .preinit_array runs earlier, when the libraries are mapped but not initialised (20 ms
// after the start), so the program starts itself again from there, once, with the variable set. Whoever sets
// GOMP_SPINCOUNT or OMP_WAIT_POLICY keeps what they set. Where .preinit_array is not honoured nothing happens.
namespace {

bool begins_with(const char* text, const char* prefix) { return std::strncmp(text, prefix, std::strlen(prefix)) == 0; }

// Neither allocation nor stdio: nothing of the C++ library is initialised yet.
void restart_with_spin_count(int argc, char** argv, char** environment) {
  constexpr size_t kMostVariables = 4096, kLongestPath = 4096;
  static char path[kLongestPath];
  static char spin_count[] = "GOMP_SPINCOUNT=1000";
  static char* changed[kMostVariables + 2];
  size_t count = 0;
  for (; environment[count] != nullptr; ++count) {
    if (begins_with(environment[count], "GOMP_SPINCOUNT=") || begins_with(environment[count], "OMP_WAIT_POLICY="))
      return;
    if (count == kMostVariables) return;
    changed[count] = environment[count];
  }
  changed[count] = spin_count;
  // The program's own path, so that its name in the process list stays.
  const ssize_t length = argc > 0 ? ::readlink("/proc/self/exe", path, kLongestPath - 1) : -1;
  if (length <= 0) return;
  path[length] = '\0';
  ::execve(path, argv, changed);  // returns only when it failed: then all goes on as before
}

__attribute__((section(".preinit_array"), used)) void (*const kBeforeEverything)(int, char**,
                                                                                 char**) = restart_with_spin_count;

}  // namespace
