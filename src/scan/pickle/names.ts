/** The names behind the allow-list: what frameworks write into pickles, and what attacks import. */

const words = (text: string): string[] => text.split(/\s+/).filter((word) => word !== "");
const names = (text: string): ReadonlySet<string> => new Set(words(text));

const TORCH_STORAGES =
  "DoubleStorage FloatStorage HalfStorage LongStorage IntStorage ShortStorage CharStorage ByteStorage BoolStorage BFloat16Storage ComplexDoubleStorage ComplexFloatStorage QUInt8Storage QInt8Storage QInt32Storage QUInt4x2Storage QUInt2x4Storage";
const TORCH_TENSORS =
  "Tensor DoubleTensor FloatTensor HalfTensor LongTensor IntTensor ShortTensor CharTensor ByteTensor BoolTensor BFloat16Tensor";
const TORCH_TYPES =
  "float16 float32 float64 float half double bfloat16 int8 int16 int32 int64 int long short uint8 uint16 uint32 uint64 bool complex32 complex64 complex128 float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz float8_e8m0fnu qint8 quint8 qint32 per_tensor_affine per_channel_affine strided sparse_coo sparse_csr contiguous_format channels_last preserve_format";
const NUMPY_TYPES =
  "ndarray dtype bool_ bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 intc intp uintc uintp longlong ulonglong int_ uint float16 float32 float64 float_ longdouble complex64 complex128 bytes_ str_ void datetime64 timedelta64 object_ number integer floating generic matrix recarray";
const NUMPY_DTYPES =
  "BoolDType Int8DType Int16DType Int32DType Int64DType UInt8DType UInt16DType UInt32DType UInt64DType Float16DType Float32DType Float64DType Complex64DType Complex128DType StrDType BytesDType VoidDType DateTime64DType TimeDelta64DType ObjectDType";
const NUMPY_RANDOM =
  "__randomstate_ctor __generator_ctor __bit_generator_ctor RandomState Generator MT19937 PCG64 PCG64DXSM Philox SFC64";

/** Callables that only build data, by module; exact names, so that no attribute path can hide behind one. */
export const ALLOWED: ReadonlyMap<string, ReadonlySet<string>> = new Map([
  [
    "builtins",
    names(
      "set frozenset list dict tuple int float complex str bytes bytearray bool object slice range xrange long unicode",
    ),
  ],
  ["collections", names("OrderedDict defaultdict Counter deque")],
  ["copyreg", names("_reconstructor __newobj__")],
  ["_codecs", names("encode")],
  ["datetime", names("date datetime time timedelta timezone")],
  ["decimal", names("Decimal")],
  ["fractions", names("Fraction")],
  ["uuid", names("UUID")],
  ["argparse", names("Namespace")],
  ["pathlib", names("Path PosixPath WindowsPath PurePath PurePosixPath PureWindowsPath")],
  ["torch", names(`${TORCH_STORAGES} ${TORCH_TENSORS} ${TORCH_TYPES} Size device`)],
  ["torch.cuda", names(`${TORCH_STORAGES} ${TORCH_TENSORS}`)],
  ["torch.storage", names("TypedStorage UntypedStorage _TypedStorage _UntypedStorage")],
  [
    "torch._utils",
    names(
      "_rebuild_tensor _rebuild_tensor_v2 _rebuild_tensor_v3 _rebuild_parameter _rebuild_parameter_with_state _rebuild_qtensor _rebuild_sparse_tensor _rebuild_sparse_csr_tensor _rebuild_meta_tensor_no_storage _rebuild_nested_tensor _rebuild_device_tensor_from_numpy _rebuild_device_tensor_from_cpu_tensor _rebuild_xla_tensor _rebuild_wrapper_subclass",
    ),
  ],
  ["torch._tensor", names("_rebuild_from_type_v2 Tensor")],
  ["torch.nn.parameter", names("Parameter Buffer UninitializedParameter")],
  ["torch.serialization", names("_get_layout")],
  ["numpy", names(NUMPY_TYPES)],
  ["numpy.core.multiarray", names("_reconstruct scalar")],
  ["numpy._core.multiarray", names("_reconstruct scalar")],
  ["numpy.core.numeric", names("_frombuffer")],
  ["numpy._core.numeric", names("_frombuffer")],
  ["numpy.dtypes", names(NUMPY_DTYPES)],
  ["numpy.ma.core", names("_mareconstruct MaskedArray")],
  ["numpy.random", names(NUMPY_RANDOM)],
  ["numpy.random._pickle", names(NUMPY_RANDOM)],
  ["numpy.random._mt19937", names("MT19937")],
  ["numpy.random._pcg64", names("PCG64 PCG64DXSM")],
]);

/** Python 2 names that the unpickler still translates (Lib/_compat_pickle.py). */
export const RENAMED: ReadonlyMap<string, string> = new Map([
  ["__builtin__", "builtins"],
  ["__builtins__", "builtins"],
  ["copy_reg", "copyreg"],
  ["numpy.core._multiarray_umath", "numpy.core.multiarray"],
]);

export const HARMLESS_BUILTINS = names(
  "print len repr ascii abs all any bin chr divmod enumerate format hash hex id isinstance issubclass iter max min next oct ord pow reversed round sorted sum zip memoryview property staticmethod super NotImplemented Ellipsis",
);

/** Roots of the standard library of Python 2 and 3: no model needs more of it than the allow-list has. */
export const STANDARD_LIBRARY = names(
  `__future__ _abc _aix_support _ast _asyncio _bisect _bootlocale _bootsubprocess _codecs _collections
  _collections_abc _compat_pickle _compression _contextvars _csv _ctypes _curses _datetime _decimal _elementtree
  _functools _hashlib _heapq _imp _interpreters _io _json _locale _lsprof _lzma _markupbase _md5 _multiprocessing
  _opcode _operator _osx_support _pickle _posixshmem _posixsubprocess _py_abc _pydecimal _pyio _pyrepl _queue _random
  _signal _sitebuiltins _socket _sqlite3 _sre _ssl _stat _string _strptime _struct _symtable _testcapi _thread
  _threading_local _tkinter _tracemalloc _uuid _warnings _weakref _weakrefset _winapi _xxsubinterpreters _zoneinfo abc
  aifc antigravity anydbm argparse array ast asynchat asyncio asyncore atexit audioop base64 bdb binascii binhex bisect
  bz2 cPickle cProfile cStringIO calendar cgi cgitb chunk cmath cmd code codecs codeop collections colorsys commands
  compileall compiler concurrent configparser contextlib contextvars copy copyreg crypt csv ctypes curses dataclasses
  datetime dbm decimal difflib dircache dis distutils doctest email encodings ensurepip enum errno exceptions
  faulthandler fcntl filecmp fileinput fnmatch formatter fractions ftplib functools gc genericpath getopt getpass
  gettext glob graphlib grp gzip hashlib heapq hmac hotshot html htmlentitydefs http httplib idlelib imageop imaplib
  imghdr imp importlib imputil inspect io ipaddress itertools json keyword lib2to3 linecache locale logging lzma mailbox
  mailcap marshal math mimetypes mmap modulefinder msilib msvcrt multiprocessing netrc new nis nntplib nt ntpath
  nturl2path numbers opcode operator optparse os ossaudiodev parser pathlib pdb pickle pickletools pipes pkgutil platform
  plistlib popen2 poplib posix posixpath posixfile pprint profile pstats pty pwd py_compile pyclbr pydoc pydoc_data
  pyexpat queue quopri random re readline reprlib resource rexec rlcompleter runpy sched secrets select selectors sets
  shelve shlex shutil signal site sitecustomize smtpd smtplib sndhdr socket socketserver spwd sqlite3 sre sre_compile
  sre_constants sre_parse ssl stat statistics statvfs string stringprep struct subprocess sunau symbol symtable sys
  sysconfig syslog tabnanny tarfile telnetlib tempfile termios test textwrap this thread threading time timeit tkinter
  token tokenize tomllib trace traceback tracemalloc tty turtle turtledemo types typing unicodedata unittest urllib
  urllib2 urlparse user usercustomize uu uuid venv warnings wave weakref webbrowser winreg winsound wsgiref xdrlib xml
  xmlrpc xmlrpclib zipapp zipfile zipimport zlib zoneinfo`,
);

/** Modules outside the standard library whose callables run code, start programs or open connections. */
export const DANGEROUS_MODULES = names(
  `aiohttp ansible bottle celery cffi cloudpickle dask dill django docker execnet fabric flask gevent httpx invoke IPython
  ipykernel jinja2 joblib.externals jsonpickle jupyter jupyter_core keras.src.saving mako nltk.app numba
  numexpr numpy.distutils numpy.f2py numpy.lib numpy.testing nose pandas.core.computation pandas.io paramiko pexpect pip
  pkg_resources plumbum psutil py pytest requests setuptools sh shellingham sklearn.utils._testing snakemake
   tensorflow.io tensorflow.python torch._compile torch._dynamo torch._export torch._functorch
  torch._guards torch._higher_order_ops torch._inductor torch._jit_internal torch._library torch._lobpcg torch._ops
  torch._weights_only_unpickler torch.autograd.profiler torch.classes torch.compiler torch.cpp torch.distributed
  torch.export torch.fx torch.hub torch.jit torch.library torch.monitor torch.multiprocessing torch.ops
  torch.onnx torch.package torch.profiler torch.serialization torch.testing
  torch.utils transformers.dynamic_module_utils twisted urllib3 virtualenv websocket websockets wheel win32api win32com
  yaml zmq`,
);

/** Attribute names that run code or reach files wherever they are defined. */
export const DANGEROUS_NAME =
  /[._](?:eval|exec|execv\w*|execfile|system|popen\d?|spawn\w*|run(?:_\w+|code|command|ctx|string|source)?|call|check_output|check_call|compile|__import__|import_\w+|load|loads|_load_\w+|open|urlopen|urlretrieve|command|cmd|shell|__globals__|__builtins__|__dict__|__subclasses__|__code__|__reduce\w*__|__getattribute__)$/;
